"""Ctrl-C: one network keeps its best epoch; several are stopped as a whole."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

import skae
from skae import (
    MLP,
    Autoencoder,
    AutoencoderCompressor,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderRegressor,
    AutoencoderSearch,
    AutoencoderWarning,
    PooledEstimator,
)
from skae.training import Trainer, _interrupts

INTERRUPTS = int(os.environ.get("SKAE_INTERRUPTS", "6"))


class Press(Callback):
    """Press Ctrl-C at the end of an epoch of the first network that is trained."""

    pressed = 0

    def __init__(self, at=3, times=1):
        self.at, self.times = at, times

    def on_epoch_end(self, net, **_):
        if len(net.history) == self.at and type(self).pressed < self.times:
            type(self).pressed += 1
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def start_fit(monkeypatch):
    monkeypatch.setattr(Press, "pressed", 0)


def pressing(**params):
    inner = {"max_iter": 8, "early_stopping": False, "random_state": 0}
    inner["net_params"] = {"callbacks": [Press()]}
    return Autoencoder(2, **inner | params)


def state(estimator):
    return {name: id(value) for name, value in vars(estimator).items()}


def test_one_network_keeps_its_best_epoch(sheet):
    for model in (pressing(), make_pipeline(StandardScaler(), pressing())):
        Press.pressed, _interrupts._last = 0, -np.inf
        with pytest.warns(AutoencoderWarning, match="Interrupted after 3 of 8 epochs"):
            model.fit(sheet)
        assert np.isfinite(model.transform(sheet)).all()


def test_a_second_interrupt_just_after_the_first_stops_everything(sheet):
    with pytest.warns(AutoencoderWarning, match="Interrupted"):
        pressing().fit(sheet)
    Press.pressed = 0
    model = pressing()
    with pytest.raises(KeyboardInterrupt):
        model.fit(sheet)
    assert not hasattr(model, "module_")


class Loop(BaseEstimator):
    """A meta-estimator of somebody else's that is run by scikit-learn."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y=None):
        self.estimators_ = [clone(self.estimator).fit(X) for _ in range(2)]
        return self

    def score(self, X, y=None):
        return 0.0


COMPOSITES = {
    "grid": lambda: GridSearchCV(pressing(), {"n_components": [1, 2]}, cv=2),
    "grid of pipelines": lambda: GridSearchCV(
        make_pipeline(StandardScaler(), pressing()), {"autoencoder__n_components": [1, 2]}, cv=2
    ),
    "grid of loops": lambda: GridSearchCV(Loop(pressing()), {}, cv=2),
    "detector": lambda: AutoencoderOutlierDetector(pressing()),
    "imputer": lambda: AutoencoderImputer(pressing()),
    "compressor": lambda: AutoencoderCompressor(pressing()),
    "search": lambda: AutoencoderSearch(pressing()),
    "pooled": lambda: PooledEstimator(LinearRegression(), AutoencoderImputer(pressing())),
    "pooled estimators": lambda: PooledEstimator(
        make_pipeline(pressing(), LinearRegression()), AutoencoderImputer(max_iter=1)
    ),
    "regressor": lambda: AutoencoderRegressor(pressing(), max_iter=1),
    "bagging": lambda: BaggingRegressor(
        make_pipeline(pressing(), LinearRegression()), random_state=0
    ),
    "target": lambda: TransformedTargetRegressor(make_pipeline(pressing(), LinearRegression())),
}


@pytest.mark.parametrize("name", COMPOSITES)
def test_several_networks_are_stopped_as_a_whole(sheet, name):
    X = sheet.copy()
    X[::5, 1] = np.nan
    model = COMPOSITES[name]()
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, sheet[:, 0])
    assert Press.pressed == 1
    if type(model).__module__.startswith("skae"):
        assert state(model) == before


def test_pretraining_of_a_layer_is_stopped_with_the_whole(sheet, monkeypatch):
    def press(self, *_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run_single_epoch", press)
    model = Autoencoder(2, architecture=MLP((5, 4), pretraining_epochs=4), max_iter=8)
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        model.fit(sheet)
    assert state(model) == before


def test_cross_validation_is_stopped(sheet):
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(pressing(), sheet, cv=2)


@pytest.mark.full
def test_at_any_moment_a_composite_is_whole_or_as_it_was(sheet):
    X_missing = np.where(np.arange(sheet.size).reshape(sheet.shape) % 7 == 3, np.nan, sheet)
    target = sheet[:, 0].copy()
    short = {"max_iter": 2, "early_stopping": False}
    models = [
        AutoencoderOutlierDetector(Autoencoder(2, **short), random_state=0),
        AutoencoderImputer(max_iter=2, random_state=0),
        AutoencoderCompressor(Autoencoder(2, **short), random_state=0),
        PooledEstimator(LinearRegression(), AutoencoderImputer(max_iter=1), n_imputations=2),
        GridSearchCV(Autoencoder(2, **short), {"n_components": [1, 2]}, cv=2),
    ]
    draw, received = random.Random(INTERRUPTS), []

    def interrupt(*_):
        received.append(True)
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGINT, interrupt)
    for i in range(INTERRUPTS):
        received.clear()
        model = clone(models[i % len(models)])
        begin = time.monotonic()
        clone(model).fit(X_missing, target)
        wait = draw.uniform(0, time.monotonic() - begin)
        before = state(model)
        timer = threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT))
        try:
            try:
                timer.start()
                model.fit(X_missing, target)
                ended = "whole"
            finally:
                while not received:  # the interrupt may come here
                    time.sleep(1e-3)
        except KeyboardInterrupt:
            ended = "whole" if hasattr(model, "n_features_in_") else "stopped"
        if ended == "whole":
            model.score_samples(X_missing) if hasattr(
                model, "score_samples"
            ) else model.get_params()
        elif type(model).__module__.startswith("skae"):
            assert state(model) == before
        _interrupts._last = -np.inf
    signal.signal(signal.SIGINT, former)


@pytest.mark.full
def test_sigterm_ends_the_process(tmp_path):
    code = """
import os, signal, threading
import numpy as np
from skae import Autoencoder
X = np.random.default_rng(0).normal(size=(300, 6))
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
for _ in range(1000):
    Autoencoder(2, max_iter=50).fit(X)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=120, check=False)
    assert done.returncode == -signal.SIGTERM


FORK = """
import os, signal
import numpy as np, torch
import skae
torch.set_num_threads(2)
X = np.random.default_rng(0).normal(size=(2000, 40))
model = skae.Autoencoder(3, max_iter=1, batch_size=1000, early_stopping=False, random_state=0)
detector = skae.AutoencoderOutlierDetector(model, method="neighbors", trim=0).fit(X)
expected = model.fit(X).transform(X), detector.score_samples(X)
state = torch.get_rng_state()
child = os.fork()
if child == 0:
    signal.alarm(60)
    assert torch.equal(torch.get_rng_state(), state)
    outputs = model.fit(X).transform(X), detector.score_samples(X)
    same = all(np.allclose(a, e, rtol=1e-2, atol=1e-3) for a, e in zip(outputs, expected))
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
raise SystemExit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_is_forked_after_a_fit_of_several_threads_can_fit():
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(command, timeout=300, check=False, env=environment)
    assert done.returncode == 0


def test_what_is_saved_after_an_interrupt_is_whole(sheet, tmp_path):
    with pytest.warns(AutoencoderWarning, match="Interrupted"):
        model = pressing().fit(sheet)
    model.set_params(net_params=None)
    skae.save(model, tmp_path / "model")
    again = skae.load(tmp_path / "model")
    assert np.array_equal(again.transform(sheet), model.transform(sheet))
