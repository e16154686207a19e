"""A fit that is killed goes on to the same bits."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.base import clone

import skae
from skae import MLP, Autoencoder
from skae.training import _checkpoint

FIT = """
import sys
import numpy as np
from skae import Autoencoder, save
from skae.training import _checkpoint
from tests.conftest import curve
from tests.training.test_net import Noisy

_checkpoint.INTERVAL = 0
X = curve(np.random.default_rng(0))
model = Noisy(2, max_iter=60, random_state=0, checkpoint=sys.argv[1])
model.fit(X)
np.savez(sys.argv[2], curve=model.loss_curve_, best=model.best_epoch_, codes=model.transform(X),
         **{k: v.numpy() for k, v in model.module_.state_dict().items()})
"""


def start(folder, name):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FIT, f"{folder}/{name}", f"{folder}/{name}.npz"]
    return subprocess.Popen(command, env=environment)


def result(folder, name):
    with np.load(f"{folder}/{name}.npz") as file:
        return dict(file)


KILLS = int(os.environ.get("SKAE_KILLS", "2"))


def test_killed_at_any_moment_it_resumes_to_the_same_bits(tmp_path):
    whole = start(tmp_path, "whole")
    assert whole.wait() == 0
    expected = result(tmp_path, "whole")
    draw = random.Random(KILLS)
    for kill in range(KILLS):
        name = f"killed{kill}"
        process = start(tmp_path, name)
        while not (tmp_path / name).exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / name).exists()
        again = start(tmp_path, name)
        assert again.wait() == 0
        found = result(tmp_path, name)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert np.array_equal(found[key], value), key


@pytest.fixture
def every_epoch(monkeypatch):
    monkeypatch.setattr(_checkpoint, "INTERVAL", 0)


@pytest.mark.usefixtures("every_epoch")
def test_a_finished_fit_is_taken_as_it_is(sheet, tmp_path):
    model = Autoencoder(2, max_iter=5, early_stopping=False, checkpoint=tmp_path / "c")
    codes = model.fit_transform(sheet)
    assert np.array_equal(model.fit_transform(sheet), codes), "random_state=None is remembered"
    assert len(model.loss_curve_) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


@pytest.mark.usefixtures("every_epoch")
def test_the_file_of_another_fit_is_refused(sheet, tmp_path):
    path = tmp_path / "c"
    model = Autoencoder(2, max_iter=5, early_stopping=False, checkpoint=str(path))
    model.fit(sheet)
    for other, rows in [
        (Autoencoder(2, max_iter=6, early_stopping=False, checkpoint=str(path)), sheet),
        (Autoencoder(3, max_iter=5, early_stopping=False, checkpoint=str(path)), sheet),
        (clone(model).set_params(hidden_layer_sizes=(5,)), sheet),
        (clone(model).set_params(architecture=MLP(activation="tanh")), sheet),
        (model, sheet[::-1]),
    ]:
        with pytest.raises(ValueError, match="belongs to a fit with other parameters or other ro"):
            other.fit(rows)
    whole = path.read_bytes()
    for content in (b"", whole[:-9], whole[: len(whole) // 2], b"something else entirely"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="c cannot be read as checkpoint of skae"):
            model.fit(sheet)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="c is no checkpoint of skae"):
        model.fit(sheet)
    skae.save(Autoencoder(2), path)
    with pytest.raises(ValueError, match="c is no checkpoint of skae"):
        model.fit(sheet)
    path.unlink()
    model.fit(sheet)


def test_written_about_once_a_second_at_most(sheet, tmp_path):
    Autoencoder(2, max_iter=3, early_stopping=False, checkpoint=tmp_path / "c").fit(sheet)
    assert not (tmp_path / "c").exists()
