"""Files with a right checksum but a wrong structure: refused by one sentence, or all methods work.

``SKAE_MUTATIONS=20000`` tries as many; a few hundred otherwise.
"""

import copy
import json
import os
import random
import resource
import struct

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save

import skae
from skae import (
    MLP,
    Autoencoder,
    AutoencoderCompressor,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
)
from skae._file_format import _digest, _without_arrays

MUTATIONS = int(os.environ.get("SKAE_MUTATIONS", "150"))
TINY = {"width": 4, "n_layers": 1, "n_heads": 2, "decoder_width": 2}
SHORT = {"max_iter": 2, "early_stopping": False, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 4))
X_NEW = np.where(np.arange(4) == [[1], [2]], np.nan, X[:2])
FRAME = pd.DataFrame(X[:, :2], columns=["a", "b"]).assign(c=list("uvw") * 20, d=[True, False] * 30)

FITTED = [
    lambda: (Autoencoder(2, architecture=MLP((3,)), **SHORT).fit(X), X_NEW),
    lambda: (skae.LinearAutoencoder(2).fit(X), X_NEW),
    lambda: (skae.KSparseAutoencoder(3, selection="batch", **SHORT).fit(X), X_NEW),
    lambda: (skae.QuantizedAutoencoder(3, levels=3, **SHORT).fit(X), X_NEW),
    lambda: (skae.DenoisingAutoencoder(2, noise_level=(0.1, 1.0), **SHORT).fit(X), X_NEW),
    lambda: (skae.VariationalAutoencoder(2, variance="feature", **SHORT).fit(X), X_NEW),
    lambda: (Autoencoder(2, architecture=skae.Conv((2,)), **SHORT).fit(X), X_NEW),
    lambda: (
        skae.MaskedAutoencoder(
            2, architecture=skae.FTTransformer(groups=[[0, 2]], **TINY), **SHORT
        ).fit(X),
        X_NEW,
    ),
    lambda: (
        skae.AutoencoderClassifier(
            Autoencoder(2, architecture=MLP((3,)), **SHORT), max_iter=1, random_state=0
        ).fit(X, np.where(X[:, 0] > 0, "yes", "no")),
        X_NEW,
    ),
    lambda: (
        skae.AutoencoderRegressor(skae.LinearAutoencoder(2), fine_tune="head").fit(X, X[:, 0]),
        X_NEW,
    ),
    lambda: (
        AutoencoderOutlierDetector(
            Autoencoder(2, architecture=MLP((3,)), **SHORT),
            method=["tails", "standardized", "neighbors", "mahalanobis"],
            calibration_fraction=0.2,
        ).fit(X),
        X_NEW,
    ),
    lambda: (
        AutoencoderImputer(max_iter=1, random_state=0).fit(FRAME),
        FRAME.mask(np.repeat(X[:, :1] > 1, 4, axis=1)),
    ),
    lambda: (AutoencoderImputer(skae.LinearAutoencoder(1)).fit(X), X_NEW),
    lambda: (
        AutoencoderOutlierDetector(
            Autoencoder(2, architecture=MLP((3,)), **SHORT), method=["tails", "standardized"]
        ).fit(FRAME),
        FRAME.mask(np.repeat(X[:, :1] > 1, 4, axis=1)),
    ),
    lambda: (AutoencoderCompressor(Autoencoder(2, **SHORT)).fit(X), X_NEW),
    lambda: (
        AutoencoderCompressor(Autoencoder(2, **SHORT), max_error=[0.1, 0.2, 0.3, 0.4]).fit(X),
        X_NEW,
    ),
    lambda: (
        AutoencoderCompressor(skae.QuantizedAutoencoder(2, **SHORT)).fit(
            np.rint(9 * X).astype(int)
        ),
        np.rint(9 * X[:2]).astype(int),
    ),
    lambda: (
        AutoencoderCompressor(Autoencoder(2, **SHORT), max_error=0.1).fit(FRAME),
        FRAME.mask(X[:, [0, 1, 0, 1]] > 1),
    ),
    lambda: (
        skae.AutoencoderSearch(skae.QuantizedAutoencoder(3, **SHORT), rerank=20).fit(X),
        X_NEW,
    ),
    lambda: (skae.AutoencoderSearch(skae.LinearAutoencoder(2)).fit(X), X_NEW),
    lambda: (skae.TableEncoder().fit(FRAME), FRAME.mask(X[:, [0, 1, 0, 1]] > 1)),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Structure, arrays and new rows of a file of each kind."""
    path = tmp_path_factory.mktemp("files") / "model"
    found = []
    for fit in FITTED:
        model, rows = fit()
        skae.save(model, path)
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        text = json.loads(content[8 : 8 + length])["__metadata__"]["structure"]
        found.append((json.loads(text), load(content), rows))
    return found


def written(path, structure, arrays):
    """Write a file with a right checksum."""
    text = json.dumps(structure)
    metadata = {"skae": "1", "kind": "estimator", "structure": text}
    path.write_bytes(save(arrays, metadata | {"digest": _digest(text, arrays)}))


ODD = [None, True, False, 0, -1, 1, 3, 10**6, 2**40, 2**70, -0.5, float("nan"), float("inf"), "",
       "x", "os:system", "__class__", "transform", "_map", "float64", [], {}, [[]], {"list": []},
       {"tuple": [1, 2]}, {"dict": []}, {"array": "0"}, {"array": "1", "as": ["transposed"]},
       {"strings": ["a"], "shape": [1]}, {"NA": None}, {"class": "MLP"},
       {"class": "Columns", "state": {"dict": []}, "requests": {}},
       {"class": "MLP", "state": {"dict": []}, "requests": {"fit": {"a": "b"}}},
]  # fmt: skip


def places(node):
    """Return every container of a structure with every key of it."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in keys:
        yield node, key
        yield from places(node[key])


def mutate(draw, structure, arrays):
    """Change one thing in a structure, or in an array."""
    if draw.random() < 0.25:
        name = draw.choice(list(arrays))
        arrays[name] = other_array(draw, arrays[name])
        return structure
    where = list(places(structure))
    node, key = draw.choice(where)
    action = draw.randrange(6)
    if action == 0 and isinstance(node, list):
        del node[key]
    elif action == 1 and isinstance(node, list):
        node.insert(key, copy.deepcopy(node[key]))
    elif action == 2:
        other, there = draw.choice(where)
        node[key] = copy.deepcopy(other[there])
    elif action == 3 and isinstance(node, dict):
        node[draw.choice(["list", "tuple", "dict", "array", "class", "x"])] = node.pop(key)
    elif action == 4 and isinstance(node[key], (int, float)):
        node[key] = draw.choice([-1, 0, 1, 2, 10]) * node[key] + draw.choice([0, 1, -1])
    else:
        node[key] = copy.deepcopy(draw.choice(ODD))
    return structure


def other_array(draw, array):
    """Return an array of another shape, dtype or content."""
    kind = draw.randrange(5)
    if kind == 0:
        return array.reshape(-1)[: draw.randrange(array.size + 1)].copy()
    if kind == 1:
        return array.astype(draw.choice(["f2", "f4", "f8", "i1", "i8", "u4", "?"]))
    if kind == 2:
        return np.full_like(array, draw.choice([0, 1, 3]))
    if kind == 3:
        return np.tile(array, 2)
    changed = array.copy()
    if changed.size:
        changed.flat[draw.randrange(changed.size)] = draw.choice([0, 1, 2, 100])
    return changed


def outputs(model, rows):
    """Ask a model for all that it can say of some rows."""
    for name in ("transform", "reconstruct", "score_samples", "predict", "p_values", "sample",
                 "feature_contributions", "kneighbors", "radius_neighbors", "add",
                 "get_feature_names_out"):  # fmt: skip
        if name == "transform" and isinstance(model, AutoencoderCompressor):
            model.inverse_transform(model.transform(rows))
            model.rate(rows)
        elif name == "sample" and isinstance(model, AutoencoderImputer):
            model.sample(rows, 1, random_state=0)
        elif name == "transform" and isinstance(model, skae.TableEncoder):
            model.inverse_transform(model.transform(rows))
        elif name == "sample" and hasattr(model, "sample"):
            model.sample(3, random_state=0)
        elif hasattr(model, name):
            getattr(model, name)(*() if name.startswith("get") else (rows,))


def found(node, name):
    """Return the pair of a dictionary in a structure that has this key."""
    return next(pair for pair, key in places(node) if key == 0 and pair[0] == name)


HUGE = 10**12
FORGED = {
    "layers by the million": ("architecture_.hidden_layer_sizes", {"list": [1] * 10**6}),
    "a wide layer": ("architecture_.hidden_layer_sizes", {"tuple": [HUGE]}),
    "a width that overflows": ("n_inputs", 2**62),
    "a width that is text": ("n_inputs", "open('x', 'w')"),
    "a size that is not a number": ("n_code", float("nan")),
    "a scale below zero": ("scale_", -1.0),
    "an estimator as architecture": (
        "architecture_",
        {"class": "Columns", "state": {"dict": []}, "requests": {}},
    ),
    "an array twice": ("mean_", {"array": "1"}),
    "text as a number": ("n_features_in_", "4"),
    "a parameter out of range": ("n_components", 0),
    "a method": ("loss_curve_", {"dict": [["transform", 1]]}),
}


@pytest.mark.parametrize("what", FORGED)
def test_forged_values_are_refused_before_anything_is_built(files, tmp_path, what):
    structure, arrays, _ = files[0]
    structure = copy.deepcopy(structure)
    name, value = FORGED[what]
    pair = [None, structure["state"]]
    for part in name.split("."):
        pair = found(pair[1], part)
    pair[1] = value
    written(tmp_path / "model", structure, arrays)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="model cannot be read as estimator of skae: ") as caught:
        skae.load(tmp_path / "model")
    assert "damaged" not in str(caught.value)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 100e6 + 50 * (tmp_path / "model").stat().st_size


@pytest.mark.parametrize("name", ["__class__", "transform", "_apply", "a b", "__dict__"])
def test_attributes_shadow_nothing(files, tmp_path, name):
    structure, arrays, _ = copy.deepcopy(files[0])
    structure["state"]["dict"].append([name, 1])
    written(tmp_path / "model", structure, arrays)
    with pytest.raises(ValueError, match="cannot be an attribute of Autoencoder"):
        skae.load(tmp_path / "model")
    structure["state"]["dict"][-1][0] = "of_another_version_"
    written(tmp_path / "model", structure, arrays)
    assert skae.load(tmp_path / "model").of_another_version_ == 1


@pytest.mark.parametrize(
    "text",
    ["", "5", "{}", '{"list":[' * 500 + "]}" * 500, "[" * 10**6, '{"list":[],"list":[]}', '"',
     '{"list":[' + "9" * 5000 + "]}", '{"dict":[[{"list":[]},1]]}', '{"class":[]}', '{"array":[]}',
     '{"strings":["a"],"shape":[1,4294967296,4294967296]}', '"\\' * 10**5],
)  # fmt: skip
def test_structures_that_are_none(tmp_path, text):
    path = tmp_path / "model"
    metadata = {"skae": "1", "kind": "estimator", "structure": text, "digest": _digest(text, {})}
    path.write_bytes(_without_arrays(metadata))
    with pytest.raises(ValueError, match="model cannot be read as estimator of skae: it") as caught:
        skae.load(path)
    assert len(str(caught.value)) < 300


def outcome(function, *args):
    """Return what a function returns, and what it raises."""
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def is_ours(error):
    """Whether the sentence of an error is skae's, or that of validation by scikit-learn."""
    tail = error.__traceback__
    while tail.tb_next:
        tail = tail.tb_next
    where = tail.tb_frame.f_code.co_filename
    if type(error).__name__ in ("NotFittedError", "AttributeError"):  # has no such method
        return "is not fitted" in str(error) or "has no attribute" in str(error)
    return isinstance(error, ValueError) and any(
        part in where for part in ("/skae/", "sklearn/utils/validation", "_param_validation")
    )


@pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value encountered")
def test_whatever_is_wrong_with_a_file_is_said_in_one_sentence(files, tmp_path):
    draw = random.Random(MUTATIONS)
    path = tmp_path / "model"
    n_loaded = 0
    for _ in range(MUTATIONS):
        structure, arrays, rows = draw.choice(files)
        structure, arrays = copy.deepcopy(structure), dict(arrays)
        for _ in range(draw.choice([1, 1, 2])):
            structure = mutate(draw, structure, arrays)
        try:
            written(path, structure, arrays)
        except (OverflowError, ValueError):
            continue
        model, error = outcome(skae.load, path)
        if error is not None:
            assert type(error) is ValueError, structure
            assert str(path) in str(error)
            assert "\n" not in str(error)
            assert error.__cause__ is None or is_ours(error.__cause__), repr(error.__cause__)
            continue
        n_loaded += 1
        error = outcome(outputs, model, rows)[1]
        assert error is None or is_ours(error), structure
    assert 0 < n_loaded < MUTATIONS
