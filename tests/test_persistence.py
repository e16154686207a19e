import copy
import json
import os
import pickle
import threading

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.utils.metadata_routing import get_routing_for_object

import skae
from skae import MLP, Autoencoder, AutoencoderImputer, AutoencoderOutlierDetector, LinearAutoencoder
from skae._file_format import _digest
from skae.training import seeded


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
    X_missing = np.where(np.arange(6) == 1, np.nan, sheet)
    skae.save(imputer, tmp_path / "model")
    again = skae.load(tmp_path / "model", device="auto")
    np.testing.assert_allclose(again.transform(X_missing), imputer.transform(X_missing), rtol=1e-6)


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
        with pytest.raises(ValueError, match="cannot be read as estimator|was not written by"):
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
        with pytest.raises(ValueError, match="model (cannot be read|was not written by skae)"):
            skae.load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="model was not written by skae as estimator"):
        skae.load(path)
    written(path, {"class": "PCA", "state": {"dict": []}, "requests": {}})
    with pytest.raises(ValueError, match="'PCA', which is not a type of skae"):
        skae.load(path)


ARRAYS = [
    np.array([0, 1, 1], dtype=dtype)
    for dtype in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
] + [
    np.array([1.5, -0.0, np.nan, np.inf], ">f8"),
    np.array([[1, 2], [3, 4]], ">i4", order="F"),
    np.array(3.5),
    np.array(7, ">i2"),
    np.zeros((0, 3)),
    np.zeros((2, 0), order="F"),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(12.0).reshape(3, 4)[::2, ::-1],
    np.array(["a", "", "\ud800", "\0b", "\U0001f600"]),
    np.array([["a", "bc"]], ">U7"),
    np.array("text"),
    np.array([["a", "b"], ["c", "d"]], dtype=object),
    np.zeros((0, 2), dtype=object),
]
VALUES = [
    None, True, 0, -(2**200), 1e308, 5e-324, -0.0, "", "\0 \ud800 \n {", [], (), {}, [(), [None]],
    np.float32(0.1), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True), np.float16(np.inf),
    {1: "a", None: 2, (1, "b"): [3], 2.5: {}, np.int64(9): 4, True + 1: 0},
]  # fmt: skip


@pytest.mark.parametrize("value", ARRAYS, ids=lambda a: f"{a.dtype.str}{a.shape}")
def test_arrays_come_back_as_they_were(tmp_path, value):
    model = Autoencoder(2)
    model.extra_ = value
    value.flags.writeable = False
    skae.save(model, tmp_path / "model")
    again = skae.load(tmp_path / "model").extra_
    assert (again.dtype, again.shape) == (value.dtype, value.shape)
    assert again.tobytes() == value.tobytes() or again.tolist() == value.tolist()
    for flag in ("c_contiguous", "f_contiguous"):
        if getattr(value.flags, flag):
            assert getattr(again.flags, flag)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_were(tmp_path, value):
    model = Autoencoder(2)
    model.extra_ = value
    skae.save(model, tmp_path / "model")
    again = skae.load(tmp_path / "model").extra_
    assert type(again) is type(value)
    assert again == value
    assert repr(again) == repr(value)


@pytest.mark.parametrize(
    "value",
    [2**5000, 1j, b"a", {1, 2}, np.longdouble(1), np.complex64(1), np.datetime64("2020-01-01"),
     np.ma.array([1], mask=[1]), np.array([1, "a"], dtype=object), np.zeros(2, "i4,f8"), range(3),
     pd.Timestamp("2020"), {b"a": 1}, len],
    ids=repr,
)  # fmt: skip
def test_other_values_are_refused_by_save_with_their_place(tmp_path, value):
    model = Autoencoder(2, net_params={"a": [0, value]})
    with pytest.raises(TypeError, match=r"Autoencoder\.net_params\.a\[1\]"):
        skae.save(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_what_contains_itself_is_refused(tmp_path):
    value = []
    value.append(value)
    with pytest.raises(TypeError, match=r"nested up to 40 deep; Autoencoder\.net_par"):
        skae.save(Autoencoder(2, net_params={"a": value}), tmp_path / "model")


def test_parameters_out_of_range_are_refused_both_ways(tmp_path):
    with pytest.raises(ValueError, match="cannot be written by skae.save: The 'n_components'"):
        skae.save(Autoencoder(-1), tmp_path / "model")


@pytest.mark.parametrize("missing", [pd.NA, np.nan, None, -1, "", np.float32(2)])
def test_what_stands_for_missing_comes_back(tmp_path, missing):
    skae.save(AutoencoderImputer(missing_values=missing), tmp_path / "model")
    again = skae.load(tmp_path / "model").missing_values
    assert again is missing or type(again) is type(missing)
    assert str(again) == str(missing)


def test_only_regular_files_are_read_and_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(ValueError, match="is not a regular file"):
            skae.load(path)
        with pytest.raises(OSError, match="[Ff]ile|directory"):
            skae.save(Autoencoder(2), path)
        if path != "/dev/zero":
            with pytest.raises(ValueError, match="is not a valid file path"):
                Autoencoder(2, checkpoint=path).fit(np.eye(5))
    for path in ("", "a\0b", "\ud8ff"):
        with pytest.raises(ValueError, match="is not a valid file path"):
            skae.save(Autoencoder(2), path)
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_a_link_is_written_through_and_no_other_file_is_touched(tmp_path):
    others = ["model.part", "model.tmp", ".model"]
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / "real").mkdir()
    (tmp_path / "model").symlink_to("real/model")
    for n_components in (2, 3):
        skae.save(Autoencoder(n_components), tmp_path / "model")
        assert (tmp_path / "model").is_symlink()
        assert skae.load(tmp_path / "real" / "model").n_components == n_components
    assert all((tmp_path / name).read_text() == "mine" for name in others)
    assert [p.name for p in (tmp_path / "real").iterdir()] == ["model"]
    (tmp_path / "plain").touch()
    assert (tmp_path / "real" / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match="choose a file in an existing") as caught:
        skae.save(Autoencoder(2), tmp_path / "none" / "model")
    assert caught.value.filename == str(tmp_path / "none" / "model")


def test_two_writers_do_not_disturb_each_other(tmp_path):
    failed = []

    def write(n_components):
        try:
            for _ in range(50):
                skae.save(Autoencoder(n_components), tmp_path / "model")
                assert skae.load(tmp_path / "model").n_components in (2, 3)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(k,)) for k in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def reading(read, outputs):
    outputs.append(read())


def test_reading_waits_for_no_thread_that_draws(sheet, tmp_path):
    model = Autoencoder(2, max_iter=1, early_stopping=False).fit(sheet)
    skae.save(model, tmp_path / "model")
    reads = (
        lambda: skae.load(tmp_path / "model"),
        lambda: copy.deepcopy(model),
        lambda: pickle.loads(pickle.dumps(model)),
    )
    with seeded(0):
        for read in reads:
            outputs = []
            thread = threading.Thread(target=reading, args=(read, outputs), daemon=True)
            thread.start()
            thread.join(timeout=60)
            assert len(outputs) == 1
