import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.utils.metadata_routing import get_routing_for_object

import skae
from skae import (
    MLP,
    Autoencoder,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    LinearAutoencoder,
)
from skae._files import _digest


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(2, max_iter=3, early_stopping=False, random_state=0),
        Autoencoder(2, architecture=MLP((7,)), max_iter=3, early_stopping=False, random_state=0),
        Autoencoder(2, hidden_layer_sizes=[5, 4], max_iter=3, early_stopping=False),
        LinearAutoencoder(2),
    ],
)
def test_round_trip_is_equal_to_the_bit(model, sheet, tmp_path):
    frame = pd.DataFrame(sheet, columns=list("abcdef"))
    model.set_output(transform="pandas").fit(frame)
    skae.save(model, tmp_path / "model")
    again = skae.load(tmp_path / "model")
    for method in ("transform", "reconstruct", "score_samples"):
        assert np.array_equal(getattr(again, method)(frame), getattr(model, method)(frame))
    assert again.transform(frame).columns.tolist() == model.transform(frame).columns.tolist()
    assert again.get_params()["max_iter"] == model.get_params()["max_iter"]
    assert again.loss_curve_ == model.loss_curve_
    on = [m.partial_fit(frame).transform(frame) for m in (model, again)]
    if model.random_state is not None:
        assert np.array_equal(*on)


def test_metadata_requests_and_paths_survive(tmp_path):
    with config_context(enable_metadata_routing=True):
        model = Autoencoder(3, checkpoint=tmp_path / "c")
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight="w")
        skae.save(model, tmp_path / "model")
        again = skae.load(tmp_path / "model")
        assert str(get_routing_for_object(again)) == str(get_routing_for_object(model))
        assert get_routing_for_object(again).score.requests == {"sample_weight": "w"}
    assert again.checkpoint == str(tmp_path / "c")


def test_unfitted_and_device(tmp_path):
    skae.save(Autoencoder(3), tmp_path / "model")
    again = skae.load(tmp_path / "model", device="cpu")
    assert again.n_components == 3
    assert again.device == "cpu"
    assert not hasattr(again, "module_")


def test_fitted_parts_move_with_the_whole(sheet, tmp_path):
    imputer = AutoencoderImputer(LinearAutoencoder(2, device="cpu"), random_state=0).fit(sheet)
    detector = AutoencoderOutlierDetector(LinearAutoencoder(2), method="reconstruction").fit(sheet)
    for model in (imputer, detector):
        skae.save(model, tmp_path / "model")
        moved = skae.load(tmp_path / "model", device="cpu:0")
        assert moved.estimator.device == moved.estimator_.device == "cpu:0"
        assert not hasattr(moved, "device")
    holed = np.where(np.arange(6) == 1, np.nan, sheet)
    skae.save(imputer, tmp_path / "model")
    again = skae.load(tmp_path / "model", device="auto")
    np.testing.assert_allclose(again.transform(holed), imputer.transform(holed), rtol=1e-6)


def test_what_cannot_be_written_is_named_and_the_former_file_stays(tmp_path):
    path = tmp_path / "model"
    skae.save(Autoencoder(3), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"Autoencoder.random_state is a RandomState; replace it"):
        skae.save(Autoencoder(random_state=np.random.RandomState(0)), path)
    with pytest.raises(TypeError, match="is a PCA"):
        skae.save(PCA(2), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def written(path, structure):
    """Write a file as `skae.save` would, but with any structure."""
    text = json.dumps(structure)
    metadata = {"skae": "1", "kind": "estimator", "structure": text, "digest": _digest(text, {})}
    save_file({}, path, metadata=metadata)


def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path, sheet):
    path = tmp_path / "model"
    skae.save(LinearAutoencoder(2).fit(sheet), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [*range(0, 400, 7), *rng.integers(400, len(whole), size=300)]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="cannot be read as estimator|is no estimator of"):
            skae.load(path)
    with pytest.raises(FileNotFoundError):
        skae.load(tmp_path / "none")


def test_what_fails_to_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        skae.save(Autoencoder(3), tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_what_is_not_its_own_is_refused(tmp_path, sheet):
    path = tmp_path / "model"
    skae.save(LinearAutoencoder(2).fit(sheet), path)
    whole = path.read_bytes()
    for content in (b"", b"not a file", whole[:-10], whole[:200]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="model (cannot be read as|is no) estimator"):
            skae.load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="model is no estimator of skae"):
        skae.load(path)
    written(path, {"class": "PCA", "state": {"dict": []}, "requests": {}})
    with pytest.raises(ValueError, match="'PCA', which is not a type of skae"):
        skae.load(path)
