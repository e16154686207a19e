"""Estimators that train several models: steps, messages and diverging fits."""

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.callback import ProgressBar
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import (
    Autoencoder,
    AutoencoderClassifier,
    AutoencoderCompressor,
    AutoencoderImputer,
    AutoencoderOutlierDetector,
    AutoencoderRegressor,
    AutoencoderSearch,
    AutoencoderWarning,
    DenoisingAutoencoder,
    PooledEstimator,
)

SHORT = {"max_iter": 2, "early_stopping": False, "random_state": 0}
INNER = Autoencoder(2, **SHORT)


@pytest.fixture
def incomplete(sheet):
    X = sheet.copy()
    X[::5, 1] = np.nan
    return X


def target_of(X, model):
    return (X[:, 0] > 0).astype(int) if is_classifier(model) else X[:, 0]


class Recorder:
    """A propagating callback that records the path of each task that begins and ends."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended = [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(path(context))

    def on_fit_task_end(self, estimator, context):
        self.ended.append(path(context))


def path(context):
    names = []
    while context is not None:
        source = context.source_task_name
        names.append(context.task_name if source is None else source)
        context = context.parent
    return tuple(reversed(names))


EPOCHS = 2
CASES = {
    "detector": (
        AutoencoderOutlierDetector(INNER),
        {("fit", "fit", "epoch"): EPOCHS},
    ),
    "detector of all rows": (
        AutoencoderOutlierDetector(INNER, trim=0),
        {("fit", "fit", "epoch"): EPOCHS},
    ),
    "imputer": (
        AutoencoderImputer(max_iter=2, random_state=0),
        {
            ("fit", "Gaussian"): 1,
            ("fit", "network", "epoch"): EPOCHS,
            ("fit", "nearest rows"): 1,
            ("fit", "errors"): 1,
        },
    ),
    "imputer by an autoencoder": (
        AutoencoderImputer(INNER, random_state=0),
        {("fit", "autoencoder", "epoch"): EPOCHS, ("fit", "errors"): 1},
    ),
    "compressor": (
        AutoencoderCompressor(INNER, random_state=0),
        {("fit", "autoencoder", "epoch"): EPOCHS, ("fit", "probabilities"): 1},
    ),
    "classifier": (
        AutoencoderClassifier(INNER, max_iter=2, random_state=0),
        {
            ("fit", "autoencoder", "epoch"): EPOCHS,
            ("fit", "linear model"): 1,
            ("fit", "labelled samples", "epoch"): EPOCHS,
            ("fit", "cross-validation", "epoch"): 3 * EPOCHS,
            ("fit", "all samples", "epoch"): EPOCHS,
        },
    ),
    "regressor of codes": (
        AutoencoderRegressor(INNER, fine_tune="head", random_state=0),
        {("fit", "autoencoder", "epoch"): EPOCHS, ("fit", "linear model"): 1},
    ),
    "search": (
        AutoencoderSearch(INNER, random_state=0),
        {("fit", "autoencoder", "epoch"): EPOCHS, ("fit", "codes"): 1},
    ),
    "pooled": (
        PooledEstimator(LinearRegression(), AutoencoderImputer(max_iter=2), n_imputations=3),
        {("fit", "imputer", "network", "epoch"): 3 * EPOCHS, ("fit", "estimator"): 3},
    ),
    "pooled with one imputer": (
        PooledEstimator(
            LinearRegression(), AutoencoderImputer(INNER), n_imputations=3, bootstrap=False
        ),
        {("fit", "imputer", "autoencoder", "epoch"): EPOCHS, ("fit", "estimator"): 3},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_callbacks_receive_each_step_and_epoch(incomplete, name):
    model, expected = CASES[name]
    recorder = Recorder()
    y = target_of(incomplete, model)
    model = clone(model).set_callbacks(recorder).fit(incomplete, y)
    for task, count in expected.items():
        assert recorder.begun.count(task) == recorder.ended.count(task) == count, task
    assert sorted(recorder.begun) == sorted(recorder.ended)
    assert recorder.ended[-1] == ("fit",)
    for part in (getattr(model, "estimator_", None), *getattr(model, "imputers_", ())):
        assert not hasattr(part, "_parent_callback_ctx")


def test_progress_bars_nest_from_a_search_to_the_epoch(incomplete, capsys):
    pipeline = make_pipeline(StandardScaler(), AutoencoderImputer(max_iter=2, random_state=0))
    search = GridSearchCV(
        make_pipeline(pipeline, INNER), {"autoencoder__n_components": [1]}, cv=2, refit=False
    )
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(incomplete)
    printed = capsys.readouterr().out
    assert "AutoencoderImputer - network | ImputationNetwork" in printed


@pytest.mark.full
@pytest.mark.parametrize("name", CASES)
def test_verbose_prints_a_line_per_step_and_higher_levels_are_passed_on(incomplete, name, capsys):
    model = clone(CASES[name][0])
    y = target_of(incomplete, model)
    model.fit(incomplete, y)
    assert capsys.readouterr().out == ""
    model.set_params(verbose=1).fit(incomplete, y)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(f"{type(model).__name__}: ") for line in lines)
    *steps, last = lines
    assert [f"step {i} of {len(steps)}: " in line for i, line in enumerate(steps, 1)]
    assert " fitted in " in last
    model.set_params(verbose=3).fit(incomplete, y)
    assert "train_loss" in capsys.readouterr().out  # the table of epochs


@pytest.mark.parametrize(
    "model",
    [
        AutoencoderOutlierDetector(DenoisingAutoencoder(learning_rate=1e9, **SHORT), trim=0),
        AutoencoderOutlierDetector(Autoencoder(2, learning_rate=1e9, max_iter=9), trim=0),
        AutoencoderImputer(Autoencoder(2, learning_rate=1e9, max_iter=9, random_state=0)),
        AutoencoderCompressor(Autoencoder(2, learning_rate=1e9, max_iter=9, random_state=0)),
    ],
    ids=["detector", "detector with early stopping", "imputer", "compressor"],
)
def test_a_diverging_inner_fit_warns_and_keeps_the_start(incomplete, model):
    with pytest.warns(AutoencoderWarning, match="diverged, so it stays at its start"):
        model.fit(incomplete)
    inner = model.estimator_
    assert inner.best_epoch_ == 0
    assert inner.loss_curve_ == []
    assert inner.learning_rate == 1e9  # unchanged
    if isinstance(model, AutoencoderImputer):
        assert np.isfinite(model.transform(incomplete)).all()
        return
    assert np.isfinite(model.score_samples(incomplete)).all()
    at_start = clone(inner).set_params(learning_rate=1e-300, max_iter=1, early_stopping=False)
    expected = at_start.fit(incomplete).reconstruct(incomplete)
    np.testing.assert_allclose(inner.reconstruct(incomplete), expected, rtol=1e-3, atol=1e-5)


def test_a_diverging_fit_raises(sheet):
    model = Autoencoder(2, learning_rate=1e9, max_iter=9)
    with pytest.raises(ValueError, match="diverged in epoch 1: .*lower learning_rate"):
        model.fit(sheet)
    assert not hasattr(model, "module_")
