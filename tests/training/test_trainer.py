import copy
import gc
import os
import pickle
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skae import Autoencoder, AutoencoderWarning
from skae.data import Conditioning, DataSource, RowDataset
from skae.exceptions import DivergenceError
from skae.hyperparameters import hyperparameters
from skae.losses import LOSSES
from skae.training import (
    SCHEDULES,
    Trainer,
    WeightedMean,
    check_convergence,
    seeded,
    total_of,
)


def test_loss_of_a_weighted_batch_is_that_of_the_repeated_one():
    losses, weight = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3.0, 1.0, 2.0])
    repeated = torch.repeat_interleave(losses, weight.int())
    torch.testing.assert_close(WeightedMean(2.0)(losses, weight), repeated.mean())


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_of_a_weighted_batch_is_that_of_the_repeated_one_for_every_loss(sheet, loss):
    X, weight = np.clip(sheet[:50], 0, 1), np.arange(50) % 4
    model = Autoencoder(2, loss=loss, max_iter=2, early_stopping=False, random_state=0).fit(X)

    def batch_loss(X, weight):
        table = DataSource(X)
        conditioning = Conditioning(model.mean_, model.scale_)
        rows = RowDataset.of(table, weight, conditioning, torch.float64, complete=True)
        module = copy.deepcopy(model.module_).double()
        losses = total_of(model._objective(module, rows[slice(None)]))
        return WeightedMean(float(rows.weight.mean()))(losses, rows.weight).item()

    repeated = np.repeat(X, weight, axis=0)
    assert batch_loss(X, weight) == pytest.approx(
        batch_loss(repeated, np.ones(len(repeated))), rel=1e-12
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_start_at_the_learning_rate_and_stay_below(name):
    values = [SCHEDULES[name](t) for t in np.linspace(0, 1, 50)]
    assert max(values) == pytest.approx(1, abs=0.01)
    falling = values[int(np.argmax(values)) :]
    assert all(a >= b >= 0 for a, b in pairwise(falling))
    if name == "cosine":
        assert values[-1] == pytest.approx(0)


def recorder(seen):
    class Recorder(Callback):
        def on_batch_end(self, net, batch=None, training=True, **_):
            rates = [group["lr"] for group in net.optimizer_.param_groups]
            seen.append((rates[0] if len(rates) == 1 else rates, float(batch.progress)))

    return Recorder()


def test_learning_rate_and_progress_follow_the_steps(sheet):
    seen = []
    Autoencoder(
        2,
        max_iter=4,
        batch_size=100,
        learning_rate=0.01,
        early_stopping=False,
        net_params={"callbacks": [recorder(seen)]},
    ).fit(sheet)
    assert [p for _, p in seen] == pytest.approx(np.arange(16) / 16)
    assert [lr for lr, _ in seen] == pytest.approx(
        [0.005 * (1 + np.cos(np.pi * t / 16)) for t in range(16)]
    )


def test_each_group_follows_the_schedule_from_a_learning_rate_of_its_own(sheet):
    seen = []
    net_params = {
        "callbacks": [recorder(seen)],
        "optimizer__lr": 0.01,
        "optimizer__param_groups": [("decoder*", {"lr": 0.002})],
    }
    whole = {"max_iter": 4, "batch_size": 400, "early_stopping": False}
    Autoencoder(2, schedule="linear", net_params=net_params, **whole).fit(sheet)
    expected = [[0.002 * left, 0.01 * left] for left in (1, 0.75, 0.5, 0.25)]
    np.testing.assert_allclose([rates for rates, _ in seen], expected)


@pytest.mark.parametrize(
    ("name", "loss", "diverged"),
    [
        ("train_loss", 999, False),
        ("train_loss", 1001, True),
        ("train_loss", np.nan, True),
        ("valid_loss", 1e6, False),  # of few outliers
        ("valid_loss", np.nan, True),
        ("valid_loss", np.inf, True),
    ],
)
def test_a_fit_diverges_if_its_loss_is_far_above_the_first(name, loss, diverged):
    given = {"epoch": 3, "first": 1.0, "best": None, "mean_loss": 0.5, "learning_rate": 0.1}
    with pytest.raises(DivergenceError, match="epoch 3") if diverged else nullcontext():
        check_convergence(name, loss, **given)


def test_seeded_gives_the_generator_back():
    before = torch.random.get_rng_state()
    with seeded(3):
        first = torch.rand(4)
    with seeded(3):
        assert torch.equal(first, torch.rand(4))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_fit_does_not_keep_the_table_alive(sheet):
    X = sheet.copy()
    alive = weakref.ref(X)
    model = Autoencoder(2, max_iter=2, early_stopping=False).fit(X)
    del X
    gc.collect()
    assert alive() is None
    assert model.n_iter_ == 2


@hyperparameters
class Noisy(Autoencoder):
    """A variant with noise, a parameter and a buffer of its own."""

    def _before_fit(self, module, rows):
        module.register_parameter("gain", nn.Parameter(torch.ones(())))
        module.register_buffer("level", rows.x.std())

    def _corrupt(self, module, batch):
        return batch._replace(x=batch.x + module.level * batch.random.normal(*batch.x.shape))

    def _code(self, module, h):
        return module.gain * h


def test_looks_at_the_held_out_rows_have_the_same_noise_each_time(sheet):
    still = {"learning_rate": 1e-12, "init": "random", "random_state": 0}
    model = Noisy(2, max_iter=4, n_iter_no_change=9, **still).fit(sheet)
    assert len(set(model.validation_loss_curve_)) == 1
    assert len(set(model.loss_curve_)) == 4
    clean = Autoencoder(2, max_iter=1, **still).fit(sheet)
    assert model.validation_loss_curve_[0] > clean.validation_loss_curve_[0]


def test_noise_does_not_disturb_the_order_of_the_rows(sheet):
    class Silent(Noisy):
        def _corrupt(self, module, batch):
            return batch._replace(x=batch.x + 0 * batch.random.normal(*batch.x.shape))

    class Plain(Noisy):
        def _corrupt(self, module, batch):
            return batch

    curves = [c(2, max_iter=3, random_state=0).fit(sheet).loss_curve_ for c in (Silent, Plain)]
    assert curves[0] == curves[1]


def test_what_a_variant_adds_to_the_module_is_trained_and_survives(sheet):
    model = Noisy(2, max_iter=20, random_state=0).fit(sheet)
    assert model.module_.gain.item() != 1
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.transform(sheet), model.transform(sheet))
    assert isinstance(again.module_.gain, nn.Parameter)
    assert "level" in dict(again.module_.named_buffers())


def pressing_ctrl_c(*, at):
    """Return a callback that presses Ctrl-C at a moment: (hook, epoch)."""

    def press(self, net, training=True, **_):
        if training and len(net.history) == at[1]:
            raise KeyboardInterrupt

    return type("Pressing", (Callback,), {at[0]: press})()


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(
    ("at", "complete"),
    [
        (("on_train_begin", 0), 0),
        (("on_epoch_begin", 9), 8),
        (("on_batch_end", 9), 8),
        (("on_grad_computed", 9), 8),
        (("on_epoch_end", 9), 9),
    ],
)
def test_ctrl_c_keeps_the_best_of_the_complete_epochs(sheet, at, complete, early_stopping):
    parameters = {"early_stopping": early_stopping, "random_state": 0}
    schedule = {"schedule": "constant"}
    whole = Autoencoder(2, max_iter=max(complete, 1), **schedule, **parameters)
    whole.set_params(learning_rate=1e-9 if complete == 0 else 3e-3).fit(sheet)
    model = Autoencoder(2, max_iter=20, **schedule, **parameters)
    model.set_params(net_params={"callbacks": [pressing_ctrl_c(at=at)]})
    with pytest.warns(AutoencoderWarning, match=f"Interrupted after {complete} of 20 epochs"):
        model.fit(sheet)
    assert len(model.loss_curve_) == complete
    assert np.isfinite(model.transform(sheet)).all()
    if early_stopping and complete:
        assert model.validation_loss_curve_ == whole.validation_loss_curve_
        assert model.best_epoch_ == whole.best_epoch_
        assert np.array_equal(model.transform(sheet), whole.transform(sheet))


@pytest.mark.parametrize("call", [0, 1, 5])
def test_ctrl_c_while_looking_at_the_held_out_rows(sheet, call, monkeypatch):
    calls = []

    def losses(self, looks):
        calls.append(looks)
        if len(calls) == call + 1:
            raise KeyboardInterrupt
        return original(self, looks)

    original = Trainer._losses
    monkeypatch.setattr(Trainer, "_losses", losses)
    model = Autoencoder(2, max_iter=20, random_state=0)
    with pytest.warns(AutoencoderWarning, match=f"Interrupted after {max(call - 1, 0)} of 20"):
        model.fit(sheet)
    assert np.isfinite(model.transform(sheet)).all()


def test_threads_take_turns_and_get_the_same_bits(sheet):
    def fit(seed):
        return Autoencoder(2, max_iter=3, early_stopping=False, random_state=seed).fit(sheet)

    with ThreadPoolExecutor(2) as pool:
        threaded = list(pool.map(fit, [0, 1]))
    for seed, model in enumerate(threaded):
        assert np.array_equal(model.transform(sheet), fit(seed).transform(sheet))


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_while_another_thread_fits_can_fit():
    """In a process of its own, since a fork of many threads makes Python warn."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], timeout=60, check=False)
    assert done.returncode == 0


FORK = """
import os, signal, threading, time
from skae.training import seeded

held, release = threading.Event(), threading.Event()

def fit():
    with seeded(0):
        held.set()
        release.wait()

thread = threading.Thread(target=fit)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(5)
    with seeded(1):
        os._exit(0)
_, status = os.waitpid(child, 0)
release.set()
thread.join()
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
