"""A fit that is killed goes on to the same bits."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn

import skae
from skae import MLP, Autoencoder, FunctionArchitecture
from skae._encoding import Decoder
from skae._file_format import _parts, write
from skae.training import _checkpoint
from tests.tables import curve
from tests.training.test_trainer import Noisy

ROOT = Path(__file__).parent.parent

FIT = """
import sys
from skae.training import _checkpoint
from tests.test_checkpoint import fit_with_checkpoint

_checkpoint.INTERVAL = 0
fit_with_checkpoint(sys.argv[1])
"""


def fit_with_checkpoint(path):
    """Fit a model that draws noise, with a checkpoint after each epoch; return what it is."""
    X = curve(np.random.default_rng(0))
    model = Noisy(2, max_iter=40, random_state=0, checkpoint=path).fit(X)
    weights = {k: v.numpy() for k, v in model.module_.state_dict().items()}
    curves = {"loss": model.loss_curve_, "best": model.best_epoch_}
    return weights | curves | {"codes": model.transform(X)}


def start(path):
    """Start the same fit in a process of its own, with as many threads as this one."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen([sys.executable, "-c", FIT, path], cwd=ROOT, env=environment)


SHORT = {"max_iter": 3, "early_stopping": False, "random_state": 0}
KILLS = int(os.environ.get("SKAE_KILLS", "1"))


@pytest.fixture
def every_epoch(monkeypatch):
    monkeypatch.setattr(_checkpoint, "INTERVAL", 0)


@pytest.mark.full
@pytest.mark.usefixtures("every_epoch")
def test_killed_at_any_moment_it_resumes_to_the_same_bits(tmp_path):
    expected = fit_with_checkpoint(tmp_path / "whole")
    draw = random.Random(KILLS)
    for kill in range(KILLS):
        path = tmp_path / f"killed{kill}"
        ended = 0
        while ended != -signal.SIGKILL:  # it may have been done before
            path.unlink(missing_ok=True)
            process = start(path)
            while not path.exists() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            ended = process.wait()
            assert ended in (0, -signal.SIGKILL)
        assert path.exists()
        found = fit_with_checkpoint(path)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert np.array_equal(found[key], value), key


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
    model = Autoencoder(
        2, max_iter=5, early_stopping=False, random_state=0, checkpoint=str(path)
    ).fit(sheet)
    for other, rows in [
        (Autoencoder(2, max_iter=6, early_stopping=False, checkpoint=str(path)), sheet),
        (Autoencoder(3, max_iter=5, early_stopping=False, checkpoint=str(path)), sheet),
        (clone(model).set_params(hidden_layer_sizes=(5,)), sheet),
        (clone(model).set_params(architecture=MLP(activation="tanh")), sheet),
        (clone(model).set_params(random_state=1), sheet),
        (clone(model).set_params(net_params={"optimizer": "SGD"}), sheet),
        (clone(model).set_params(net_params={"optimizer__betas": (0.5, 0.9)}), sheet),
        (model, sheet[::-1]),
        (model, sheet + 1),
        (model, 2 * sheet),
    ]:
        with pytest.raises(ValueError, match="belongs to a fit with other parameters or other sa"):
            other.fit(rows)
    whole = path.read_bytes()
    for content in (b"", whole[:-9], whole[: len(whole) // 2], b"something else entirely"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="c cannot be read as checkpoint of skae"):
            model.fit(sheet)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="c was not written by skae as checkpoint"):
        model.fit(sheet)
    skae.save(Autoencoder(2), path)
    with pytest.raises(ValueError, match="c was not written by skae as checkpoint"):
        model.fit(sheet)
    path.unlink()
    model.fit(sheet)


@pytest.mark.usefixtures("every_epoch")
def test_a_missing_value_is_not_the_mean(sheet, tmp_path):
    first = Autoencoder(2, warm_start=True, **SHORT).fit(sheet)
    first.set_params(checkpoint=tmp_path / "c")
    second = copy.deepcopy(first)
    X_missing = sheet.copy()
    X_missing[7, 0] = first.mean_[0]
    first.fit(X_missing)
    X_missing[7, 0] = np.nan
    with pytest.raises(ValueError, match="other samples"):
        second.fit(X_missing)


@pytest.mark.usefixtures("every_epoch")
def test_resumed_fits_are_distinguished_by_their_start(sheet, tmp_path):
    first, second = (
        Autoencoder(2, learning_rate=rate, **SHORT)
        .fit(sheet)
        .set_params(learning_rate=3e-3, warm_start=True, checkpoint=tmp_path / "c")
        for rate in (3e-3, 1e-3)
    )
    first.fit(sheet)
    with pytest.raises(ValueError, match="belongs to a fit with other parameters"):
        second.fit(sheet)


class Counting(Callback):
    pass


@pytest.mark.usefixtures("every_epoch")
@pytest.mark.parametrize("random_state", [None, np.random.RandomState(3)])
def test_what_does_not_make_another_fit(sheet, tmp_path, random_state):
    """Neither the generator, which is in the file, nor callbacks identify a fit."""
    factory = partial(network, width=3)
    networks = FunctionArchitecture(encoder=factory, decoder=factory)
    model = Autoencoder(2, architecture=networks, **SHORT | {"random_state": random_state})
    model.set_params(checkpoint=tmp_path / "c", net_params={"callbacks": [Counting()]})
    codes = model.fit_transform(sheet)
    model.set_params(verbose=0, net_params={"callbacks": [Counting(), Counting()]})
    assert np.array_equal(model.fit_transform(sheet), codes)
    model.set_params(architecture__encoder=partial(network, width=4))
    with pytest.raises(ValueError, match="belongs to a fit with other parameters"):
        model.fit(sheet)


def network(n_in, n_out, width):
    return nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, n_out))


@pytest.mark.parametrize(
    ("place", "match"),
    [
        ("", "checkpoint='' is not a valid file path"),
        (".", "checkpoint='.*' is not a valid file path"),
        ("no/such/c", "cannot be written: the directory '.*no/such' does not exist"),
    ],
)
def test_a_place_without_room_for_a_file_is_refused_at_once(sheet, tmp_path, place, match):
    model = Autoencoder(2, **SHORT, checkpoint=place and str(tmp_path / place))
    model.set_params(net_params={"callbacks": [Unreachable()]})
    with pytest.raises(ValueError, match=match):
        model.fit(sheet)


class Unreachable(Callback):
    def on_train_begin(self, net, **_):
        raise AssertionError("training began")


def test_written_about_once_a_second_at_most(sheet, tmp_path):
    Autoencoder(2, max_iter=3, early_stopping=False, checkpoint=tmp_path / "c").fit(sheet)
    assert not (tmp_path / "c").exists()


def forge(path, name, change):
    """Change a value of a checkpoint, and repair its checksum."""
    structure, arrays = _parts(str(path), "checkpoint")
    state = Decoder(arrays).value(json.loads(structure))
    *parents, last = name.split(".")
    inner = state
    for parent in parents:
        inner = inner[parent]
    inner[last] = change(inner[last])
    path.unlink()
    write(path, "checkpoint", state)


@pytest.mark.usefixtures("every_epoch")
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("module.output_bias", lambda value: value[:-1]),
        ("module", lambda value: dict(list(value.items())[1:])),
        ("module", list),
        ("optimizer.moments.output_bias.exp_avg", lambda value: value[:-1]),
        ("optimizer.moments", lambda value: value | {"none": {}}),
        ("best.values", lambda value: value[::-1]),
        ("best", lambda value: None),
        ("history", lambda value: value * 9),
        ("history", lambda value: [{"train_loss": "low"}]),
        ("n_steps", lambda value: -1),
        ("stop", lambda value: 1),
        ("order", lambda value: value[:-1]),
        ("noise", np.zeros_like),
        ("began.state.pos", lambda value: 10**6),
        ("began.state.key", lambda value: value[1:]),
        ("fit", lambda value: None),
    ],
)
def test_a_forged_checkpoint_is_refused(sheet, tmp_path, name, change):
    path = tmp_path / "c"
    model = Autoencoder(2, max_iter=2, random_state=0, init="random", checkpoint=path)
    model.fit(sheet)
    forge(path, name, change)
    before = vars(model).copy()
    with pytest.raises(ValueError, match="c'? cannot be read as checkpoint of skae: it"):
        model.fit(sheet)
    assert vars(model) == before
