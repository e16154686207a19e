"""scikit-learn's callbacks, and skorch's."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler

import skae
from skae import Autoencoder, AutoencoderWarning, LinearAutoencoder
from skae.batched import call_together
from skae.metrics import explained_variance
from skae.model_selection import BatchedGridSearchCV
from skae.training import _checkpoint

SHORT = {"max_iter": 4, "early_stopping": False, "random_state": 0}


class Recorder:
    """A callback that records its events, and stops after some epochs."""

    def __init__(self, stop_after=None):
        self.events = []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"{context.task_name} begins")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator, X):
        assert np.isfinite(fitted_estimator.transform(X)).all()
        self.events.append(f"{context.task_name} ends")
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


def test_each_epoch_is_a_task_of_the_fit(sheet):
    recorder = Recorder()
    Autoencoder(2, **SHORT).set_callbacks(recorder).fit(sheet)
    epochs = ["epoch begins", "epoch ends"] * 4
    assert recorder.events == ["setup", "fit begins", *epochs, "fit ends", "teardown"]


def test_a_callback_can_stop_the_fit(sheet):
    model = Autoencoder(2, **SHORT).set_callbacks(Recorder(stop_after=2)).fit(sheet)
    assert model.n_iter_ == 2


def test_callbacks_of_models_in_a_batch_are_notified_as_alone(sheet):
    rates, stops = (1e-3, 1e-2, 1e-2), (None, None, 2)

    def fit(rate, recorder):
        return Autoencoder(2, learning_rate=rate, **SHORT).set_callbacks(recorder).fit(sheet)

    recorders = [Recorder(stop) for stop in stops]
    calls = [partial(fit, *given) for given in zip(rates, recorders, strict=True)]
    together = call_together(calls)
    assert [model.n_iter_ for model in together] == [4, 4, 2]
    for model, recorder, rate, stop in zip(together, recorders, rates, stops, strict=True):
        alone = Recorder(stop)
        own = fit(rate, alone)
        assert recorder.events == alone.events
        np.testing.assert_allclose(model.loss_curve_, own.loss_curve_, rtol=1e-5)


def test_a_fit_that_was_stopped_stays_so_in_its_checkpoint(sheet, tmp_path, monkeypatch):
    monkeypatch.setattr(_checkpoint, "INTERVAL", 0)
    model = Autoencoder(2, checkpoint=tmp_path / "c", **SHORT)
    codes = model.set_callbacks(Recorder(stop_after=2)).fit_transform(sheet)
    model.set_callbacks().fit(sheet)
    assert model.n_iter_ == 2
    assert np.array_equal(model.transform(sheet), codes)


def test_callbacks_are_taken_leave_of_when_a_fit_fails(sheet):
    recorder = Recorder()
    model = Autoencoder(2, learning_rate=1e6, **SHORT).set_callbacks(recorder)
    with pytest.raises(ValueError, match="diverged"):
        model.fit(sheet)
    assert recorder.events[-1] == "teardown"
    assert not [name for name in vars(model) if name.endswith("_") or "callback_fit" in name]


class Taker(Recorder):
    """A callback that takes each fitted estimator it is shown, in several ways."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.taken = []

    def on_fit_task_end(self, estimator, context, *, fitted_estimator, X):
        skae.save(fitted_estimator, self.path)
        again = pickle.loads(pickle.dumps(fitted_estimator))
        self.taken.append((copy.deepcopy(fitted_estimator), again, skae.load(self.path)))


@pytest.mark.full
@pytest.mark.parametrize("kind", [Autoencoder, LinearAutoencoder])
def test_what_callbacks_are_shown_is_fitted_in_every_way(sheet, tmp_path, kind):
    gaps = np.where(np.random.default_rng(0).random(sheet.shape) < 0.1, np.nan, sheet)
    taker = Taker(tmp_path / "model")
    model = kind(2, schedule="constant", **SHORT).set_callbacks(taker).fit(gaps)
    assert [m[0].n_iter_ for m in taker.taken] == [1, 2, 3, 4, 4]
    shorter = kind(2, schedule="constant", **SHORT | {"max_iter": 2}).fit(gaps)
    whole = shorter.partial_fit(gaps)
    for copied in taker.taken[1]:
        assert set(vars(copied)) - {"_skl_callbacks"} == set(vars(whole)), "as a fit leaves it"
        on = copied.set_callbacks().partial_fit(gaps)
        assert np.array_equal(on.transform(gaps), whole.transform(gaps))
    for copied in taker.taken[-1]:
        assert np.array_equal(copied.transform(gaps), model.transform(gaps))


def test_scoring_monitor_sees_the_score_of_each_epoch(sheet):
    """scikit-learn's monitor scores only where there is a y, whatever it is."""
    monitor = ScoringMonitor(scoring={"kept": explained_variance})
    y = np.zeros(len(sheet))
    model = Autoencoder(2, **SHORT).set_callbacks(monitor).fit(sheet, y)
    scores = [row["kept"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 4
    assert scores[-1] == pytest.approx(explained_variance(model, sheet))


@pytest.mark.parametrize("kind", [GridSearchCV, BatchedGridSearchCV])
def test_progress_bar_nests_in_a_grid_search(sheet, capsys, monkeypatch, kind):
    monkeypatch.setenv("COLUMNS", "200")
    pipeline = make_pipeline(StandardScaler(), Autoencoder(2, **SHORT))
    grid = {"autoencoder__n_components": [1, 2]}
    search = kind(pipeline, grid, scoring=explained_variance, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None))
    search.fit(sheet)
    shown = capsys.readouterr().out
    assert "Autoencoder - fit" in shown
    assert "100%" in shown


def test_skorchs_callbacks_by_net_params(sheet):
    def fit(*callbacks, **parameters):
        model = Autoencoder(2, **SHORT | parameters)
        return model.set_params(net_params={"callbacks": list(callbacks)}).fit(sheet)

    plain = fit(schedule="constant").transform(sheet)
    halved = fit(LRScheduler("StepLR", step_size=1, gamma=0.5), schedule="constant")
    assert not np.array_equal(halved.transform(sheet), plain)
    with pytest.raises(ValueError, match="'cosine' and the LRScheduler in .*='constant'"):
        fit(LRScheduler("StepLR", step_size=1))
    seen = []

    class Watch(Callback):
        def on_grad_computed(self, net, named_parameters, **_):
            gradients = [p.grad for _, p in named_parameters if p.grad is not None]
            seen.append(float(torch.cat([g.flatten() for g in gradients]).norm()))

    fit(Watch())
    assert min(seen) > 1e-4
    seen.clear()
    fit(GradientNormClipping(1e-4), Watch())
    assert 0 < max(seen) < 1.01e-4
    with pytest.warns(AutoencoderWarning, match="Interrupted after 2 of 9 epochs"):
        stopping = fit(EarlyStopping(monitor="train_loss", patience=1, threshold=0.99), max_iter=9)
    assert stopping.n_iter_ == 2


def test_skorchs_callbacks_can_be_disabled(sheet, capsys):
    recorder = Recorder()
    model = Autoencoder(2, verbose=1, net_params={"callbacks": "disable"}, **SHORT)
    model.set_callbacks(recorder).fit(sheet)
    assert capsys.readouterr().out == ""
    assert recorder.events.count("epoch ends") == 4, "scikit-learn's are not"
