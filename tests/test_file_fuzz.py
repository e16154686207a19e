"""Files with a right checksum but a wrong structure: refused by one sentence, or all methods work.

``SKAE_MUTATIONS=20000`` tries as many; a few hundred otherwise.
"""

import copy
import json
import os
import random
import struct

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save

import skae
from skae import MLP, Autoencoder, AutoencoderImputer, AutoencoderOutlierDetector
from skae._files import _digest

MUTATIONS = int(os.environ.get("SKAE_MUTATIONS", "300"))
SHORT = {"max_iter": 2, "early_stopping": False, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 4))
X_NEW = np.where(np.arange(4) == [[1], [2]], np.nan, X[:2])
FRAME = pd.DataFrame(X[:, :2], columns=["a", "b"]).assign(c=list("uvw") * 20, d=[True, False] * 30)

FITTED = [
    lambda: (Autoencoder(2, architecture=MLP((3,)), **SHORT).fit(X), X_NEW),
    lambda: (skae.LinearAutoencoder(2).fit(X), X_NEW),
    lambda: (skae.KSparseAutoencoder(3, selection="batch", **SHORT).fit(X), X_NEW),
    lambda: (skae.DenoisingAutoencoder(2, noise_level=(0.1, 1.0), **SHORT).fit(X), X_NEW),
    lambda: (skae.VariationalAutoencoder(2, variance="feature", **SHORT).fit(X), X_NEW),
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


def answers(model, rows):
    """Ask a model for all that it can say of some rows."""
    for name in ("transform", "reconstruct", "score_samples", "predict", "p_values", "sample",
                 "feature_contributions", "get_feature_names_out"):  # fmt: skip
        if name == "sample" and isinstance(model, AutoencoderImputer):
            model.sample(rows, 1, random_state=0)
        elif name == "sample" and hasattr(model, "sample"):
            model.sample(3, random_state=0)
        elif hasattr(model, name):
            getattr(model, name)(*() if name.startswith("get") else (rows,))


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
        error = outcome(answers, model, rows)[1]
        assert error is None or is_ours(error), structure
    assert 0 < n_loaded < MUTATIONS
