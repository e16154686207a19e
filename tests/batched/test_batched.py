"""Models that are trained together are what they would be alone."""

import logging
import warnings

import numpy as np
import pytest
import torch
from sklearn import get_config
from sklearn.base import clone
from sklearn.datasets import load_digits

from skae import (
    MLP,
    Autoencoder,
    AutoencoderImputer,
    ContractiveAutoencoder,
    Conv,
    DenoisingAutoencoder,
    FTTransformer,
    KSparseAutoencoder,
    LinearAutoencoder,
    MaskedAutoencoder,
    QuantizedAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from skae.batched import _training, call_together, outcomes_together
from skae.batched._adam import StackedAdamW
from skae.batched._gathering import _OpenMP
from skae.batched._numbers import NotCommonError, Number
from skae.batched._together import Group
from skae.exceptions import DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")

SHORT = {"hidden_layer_sizes": (16,), "max_iter": 4, "batch_size": 32, "random_state": 0}
TINY = {"width": 8, "n_layers": 1, "n_heads": 2, "decoder_width": 8}


@pytest.fixture(scope="module")
def table():
    return load_digits().data[:200, 20:36]


@pytest.fixture
def sizes(monkeypatch):
    """Return the sizes of the groups that are trained together."""
    found, run = [], Group.run

    def counted(group):
        found.append(len(group.members))
        return run(group)

    monkeypatch.setattr(Group, "run", counted)
    return found


def fit_together(models, table, **params):
    return call_together([lambda m=m: clone(m).fit(table, **params) for m in models])


def assert_same_fit(together, alone, rtol=1e-4):
    for name in ("loss_curve_", "validation_loss_curve_"):
        curves = getattr(together, name), getattr(alone, name)
        if curves[1] is not None:
            np.testing.assert_allclose(*curves, rtol=rtol, err_msg=name)
    assert together.loss_terms_.keys() == alone.loss_terms_.keys()
    for name, curve in alone.loss_terms_.items():
        np.testing.assert_allclose(together.loss_terms_[name], curve, rtol=rtol, atol=1e-7)
    assert together.best_epoch_ == alone.best_epoch_
    assert together.n_iter_ == alone.n_iter_
    assert together._optimizer["options"] == alone._optimizer["options"]
    moments = alone._optimizer["moments"]
    assert together._optimizer["moments"].keys() == moments.keys()
    for name, state in moments.items():
        for key, value in state.items():
            own = together._optimizer["moments"][name][key]
            assert own.shape == value.shape
            assert own.dtype == value.dtype


def grid(model, rates=(1e-3, 1e-2), **values):
    """Return the model with each of the values of a parameter, at each learning rate."""
    if not values:
        return [clone(model).set_params(learning_rate=rate) for rate in rates]
    ((name, options),) = values.items()
    return [
        clone(model).set_params(learning_rate=rate, **{name: value})
        for value in options
        for rate in rates
    ]


ACTIVATIONS = [MLP((8,), activation=name) for name in ("relu", "tanh")]
PLAIN = Autoencoder(3, **SHORT)
SPARSE = SparseAutoencoder(3, **SHORT)
DENOISING = DenoisingAutoencoder(3, **SHORT)
VARIATIONAL = VariationalAutoencoder(3, **SHORT)
FEW = {"max_iter": 2, "random_state": 0}

# A model, what differs between its candidates beside the learning rate, and the sizes of groups.
GRIDS = {
    "learning rates": (PLAIN, {}, [2]),
    "weight decay": (PLAIN, {"weight_decay": [0.0, 0.1]}, [4]),
    "schedules": (PLAIN, {"schedule": ["constant", "linear"]}, [4]),
    "activations": (Autoencoder(3, **FEW), {"architecture": ACTIVATIONS}, [2, 2]),
    "random start": (Autoencoder(3, init="random", **SHORT), {}, [2]),
    "sparse": (SPARSE, {"alpha": [0, 0.1, 1]}, [6]),
    "targets": (SPARSE, {"target_activation": [0.1, 0.2]}, [4]),
    "kl": (SparseAutoencoder(3, penalty="kl", **SHORT), {"target_activation": [0.1, 0.2]}, [4]),
    "k-sparse": (KSparseAutoencoder(3, **SHORT), {"n_nonzero_coefs": [1, 2]}, [2, 2]),
    "bits": (QuantizedAutoencoder(3, **SHORT), {"mask_ratio": [0.1, 0.3]}, [4]),
    "neighbors": (QuantizedAutoencoder(3, **SHORT), {"n_neighbors": [2, 3]}, []),
    "levels": (QuantizedAutoencoder(3, **SHORT), {"levels": [2, 4]}, [2, 2]),
    "denoising": (DENOISING, {"noise_level": [0.1, 0.3]}, [4]),
    "ranges of noise": (DENOISING, {"noise_level": [(0.1, 0.3), (0.1, 0.5)]}, [4]),
    "swap": (DenoisingAutoencoder(3, noise="swap", **SHORT), {"noise_level": [0.1, 0.3]}, [4]),
    "contractive": (ContractiveAutoencoder(3, **SHORT), {"alpha": [0.0, 0.1, 1.0]}, [2, 4]),
    "contractive, exact": (ContractiveAutoencoder(8, **SHORT), {"alpha": [0.1, 1.0]}, [4]),
    "variational": (VARIATIONAL, {"beta": [0.5, 1.0]}, [4]),
    "warm-up": (VARIATIONAL, {"warm_up": [0.0, 0.3, 0.5]}, [2, 4]),
    "masked": (MaskedAutoencoder(architecture=FTTransformer(**TINY), **FEW), {}, [2]),
    "convolutional": (Autoencoder(3, architecture=Conv((4,)), **FEW), {}, [2]),
    "linear": (LinearAutoencoder(3, init="random", **FEW), {}, [2]),
}


@pytest.mark.full
@pytest.mark.parametrize(("model", "values", "expected"), GRIDS.values(), ids=GRIDS)
def test_models_are_what_they_would_be_alone(
    table, sizes, model, values, expected, monkeypatch, caplog
):
    monkeypatch.setattr(_training, "ENOUGH_CALLS", 0)
    caplog.set_level(logging.INFO, "skae")
    models = grid(model, **values)
    together = fit_together(models, table)
    assert sorted(sizes) == expected
    assert "not recorded" not in caplog.text
    for model, fitted in zip(models, together, strict=True):
        assert_same_fit(fitted, clone(model).fit(table))


@pytest.mark.full
@pytest.mark.parametrize("early_stopping", [False, True])
def test_models_end_at_their_own_epochs(table, sizes, early_stopping):
    models = [
        SparseAutoencoder(3, early_stopping=early_stopping, n_iter_no_change=n, **SHORT).set_params(
            max_iter=max_iter, learning_rate=rate
        )
        for max_iter in (1, 3, 12)
        for rate in (1e-3, 0.1)
        for n in (1, 3)
    ]
    together = fit_together(models, table)
    assert sizes == [12]
    alone = [clone(model).fit(table) for model in models]
    assert len({len(model.loss_curve_) for model in alone}) > 2
    for fitted, model in zip(together, alone, strict=True):
        assert_same_fit(fitted, model)


def test_samples_weights_and_missing_values_are_their_own(table, sizes, rng):
    X_missing = np.where(rng.uniform(size=table.shape) < 0.1, np.nan, table)
    weight = rng.uniform(0.5, 1, size=len(table))
    weight[:3] = 0
    model = Autoencoder(3, **SHORT)
    calls = [
        lambda: clone(model).fit(X_missing[:90], sample_weight=weight[:90]),
        lambda: clone(model).fit(X_missing[100:190], sample_weight=weight[100:190]),
        lambda: clone(model).fit(X_missing[10:97]),
    ]
    together, alone = call_together(calls), [call() for call in calls]
    assert sorted(sizes) == [2]
    for fitted, own in zip(together, alone, strict=True):
        assert_same_fit(fitted, own)
        np.testing.assert_allclose(
            fitted.transform(table), own.transform(table), rtol=1e-2, atol=1e-3
        )


@pytest.mark.full
def test_imputers_are_trained_together(table, sizes, rng):
    tables = [np.where(rng.random(table.shape) < 0.2, np.nan, table) for _ in range(3)]
    imputers = [AutoencoderImputer(max_iter=3, random_state=i) for i in range(3)]
    calls = [lambda m=m, X=X: clone(m).fit(X) for m, X in zip(imputers, tables, strict=True)]
    together, alone = call_together(calls), [call() for call in calls]
    assert sizes == [3]
    for one, other, X in zip(together, alone, tables, strict=True):
        np.testing.assert_allclose(one.transform(X), other.transform(X), rtol=1e-4, atol=1e-4)


def test_a_model_that_diverges_leaves_the_others(table):
    models = [Autoencoder(3, learning_rate=rate, **SHORT) for rate in (1e-3, 1e9, 1e-2)]
    results = outcomes_together([lambda m=m: clone(m).fit(table) for m in models])
    assert isinstance(results[1], DivergenceError)
    with pytest.raises(DivergenceError) as alone:
        models[1].fit(table)
    assert str(results[1]).split(":")[0] == str(alone.value).split(":")[0]
    for model, fitted in zip(models[::2], results[::2], strict=True):
        assert_same_fit(fitted, clone(model).fit(table))


def test_a_fit_resumes_with_the_moments_of_a_batch(table):
    models = [Autoencoder(3, warm_start=True, learning_rate=r, **SHORT) for r in (1e-3, 1e-2)]
    for fitted, model in zip(fit_together(models, table), models, strict=True):
        assert_same_fit(fitted.fit(table), clone(model).fit(table).fit(table))


class Branching(SparseAutoencoder):
    """A variant that reads its hyperparameter in ways that tensors do not allow."""

    def _penalty(self, module, batch, h, output):
        if self.alpha > 0.5:
            return 2 * self.alpha * h.square().sum(1)
        return float(np.exp(self.alpha)) * h.abs().sum(1)


def test_hooks_that_need_a_number_are_batched_by_equal_ones(table, sizes, caplog):
    models = [
        Branching(3, alpha=alpha, learning_rate=rate, **SHORT)
        for alpha in (0.1, 0.2, 0.6, 0.9)
        for rate in (1e-3, 1e-2)
    ]
    with caplog.at_level(logging.INFO, logger="skae"):
        together = fit_together(models, table)
    assert sorted(sizes) == [2, 2, 4]
    assert "Only models with equal alpha are batched" in caplog.text
    for model, fitted in zip(models, together, strict=True):
        assert_same_fit(fitted, clone(model).fit(table))


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"net_params": {"optimizer": "SGD"}}, "net_params"),
        ({"precision": "bf16"}, "bf16"),
        ({"verbose": 1}, "a line per epoch"),
    ],
)
def test_what_cannot_be_batched_is_fitted_by_itself(table, sizes, caplog, params, reason):
    models = [Autoencoder(3, learning_rate=rate, **params, **SHORT) for rate in (1e-4, 1e-3)]
    with caplog.at_level(logging.INFO, logger="skae"):
        together = fit_together(models, table)
    assert not sizes
    assert caplog.text.count(reason) == 2
    for model, fitted in zip(models, together, strict=True):
        assert_same_fit(fitted, clone(model).fit(table), rtol=0)


def test_groups_are_divided_to_fit_into_memory(table, sizes, monkeypatch):
    rates = (1e-3, 2e-3, 3e-3, 4e-3, 5e-3)
    models = [Autoencoder(3, learning_rate=rate, **SHORT) for rate in rates]
    n_weights = sum(w.numel() for w in clone(models[0]).fit(table).module_.parameters())
    widths = 16 + 3 + 16 + 16 + 3 + 16  # of the layers and of the shortcuts
    cells_of_one = 32 * 6 * (widths + 16) + 8 * n_weights + table.size
    monkeypatch.setattr("skae.batched._together.MAX_CELLS", 2 * cells_of_one)
    together = fit_together(models, table)
    assert sizes == [2, 2]  # the last one is trained by itself
    for model, fitted in zip(models, together, strict=True):
        assert_same_fit(fitted, clone(model).fit(table))


# --------------------------------------------------------------------------- several trainings


@pytest.mark.parametrize("early_stopping", [True, False])
def test_the_best_of_several_trainings_is_kept(table, sizes, early_stopping):
    model = Autoencoder(3, init="random", early_stopping=early_stopping, **SHORT)

    def loss(fitted):
        return min(fitted.validation_loss_curve_) if early_stopping else fitted.loss_curve_[-1]

    losses = [loss(clone(model).set_params(n_init=n).fit(table)) for n in (1, 2, 4)]
    assert sizes == [2, 4]
    assert losses[0] >= losses[1] >= losses[2]
    assert losses[0] > losses[2]
    again = clone(model).set_params(n_init=4).fit(table)
    assert loss(again) == losses[2]
    resumed = again.set_params(warm_start=True).fit(table)
    assert len(resumed.loss_curve_) == 2 * SHORT["max_iter"]


def test_trainings_that_diverge_are_ignored_unless_all_do(table, monkeypatch):
    model = Autoencoder(3, init="random", n_init=3, **SHORT)
    with pytest.raises(DivergenceError):
        clone(model).set_params(learning_rate=1e9).fit(table)
    run = Group.run

    def first_fails(group):
        return [DivergenceError("first"), *run(group)[1:]]

    monkeypatch.setattr(Group, "run", first_fails)
    assert np.isfinite(clone(model).fit(table).transform(table)).all()


def test_several_trainings_have_no_checkpoint(table, tmp_path):
    model = Autoencoder(3, n_init=2, checkpoint=tmp_path / "c", **SHORT)
    with pytest.raises(ValueError, match="n_init=1"):
        model.fit(table)


def test_several_trainings_within_a_batch(table, sizes):
    models = grid(Autoencoder(3, init="random", n_init=3, **SHORT))
    together = fit_together(models, table)
    assert sizes == [2, 2, 2]
    for model, fitted in zip(models, together, strict=True):
        assert_same_fit(fitted, clone(model).fit(table))


# ------------------------------------------------------------------------------------ functions


def test_functions_keep_their_own_warnings_and_configuration(table):
    before = list(warnings.filters), warnings.showwarning, get_config()

    def function(action, n):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            Autoencoder(2, **SHORT).fit(table)
            warnings.warn(f"number {n}", UserWarning, stacklevel=1)
            Autoencoder(2, **SHORT).fit(table)
        return [str(w.message) for w in caught if "number" in str(w.message)]

    calls = [lambda n=n: function("always" if n % 2 else "ignore", n) for n in range(4)]
    assert call_together(calls) == [[], ["number 1"], [], ["number 3"]]
    assert (list(warnings.filters), warnings.showwarning, get_config()) == before


def test_errors_are_returned_where_they_belong(table):
    def fails():
        Autoencoder(2, **SHORT).fit(table)
        raise KeyError("mine")

    results = outcomes_together([fails, lambda: 3, lambda: Autoencoder(2, **SHORT).fit(table)])
    assert isinstance(results[0], KeyError)
    assert results[1] == 3
    assert isinstance(results[2], Autoencoder)
    with pytest.raises(KeyError, match="mine"):
        call_together([lambda: 3, fails])


def test_calls_may_be_nested(table):
    inner = [lambda: Autoencoder(2, **SHORT).fit(table).n_iter_] * 2
    assert call_together([lambda: call_together(inner)] * 2) == [[4, 4], [4, 4]]


def test_an_interrupt_ends_all_functions(table, monkeypatch):
    ended = []

    def function():
        try:
            Autoencoder(2, **SHORT).fit(table)
        finally:
            ended.append(True)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("skae.batched._gathering.train_together", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call_together([function] * 3)
    assert len(ended) == 3


# -------------------------------------------------------------------------------------- numbers


def test_numbers_compute_as_tensors_and_compare_as_numbers():
    a = Number([0.1, 0.3], torch.tensor(0.3))
    x = torch.tensor([1.0, 2.0])
    for result, expected in (
        (a * x, 0.3 * x),
        (x * a, 0.3 * x),
        (x / a, x / 0.3),
        (2 - a, 1.7),
        ((a + 1) * x, 1.3 * x),
        (-a * x, -0.3 * x),
        (x**a, x**0.3),
        (torch.clamp(x, max=a), torch.tensor([0.3, 0.3])),
        (x.clamp_min(a + 1), torch.tensor([1.3, 2.0])),
    ):
        value = result.tensor if isinstance(result, Number) else result
        torch.testing.assert_close(value, torch.as_tensor(expected))
    assert a
    assert a > 0
    assert not a > 1
    assert 0 <= a <= 1
    with pytest.raises(NotCommonError) as caught:
        bool(a > 0.2)
    assert caught.value.answers == [False, True]
    for function in (float, int, range, np.exp):
        with pytest.raises((NotCommonError, TypeError)):
            function(a)


def test_the_optimizer_is_torchs(rng):
    n_models, n = 3, 7
    start = torch.from_numpy(rng.normal(size=(n_models, n)))
    rates, decay = [1e-3, 1e-3, 0.1], [0.1, 0.1, 0.5]
    rows = start.clone()
    own = StackedAdamW(rows, decay)
    params = [start[i].clone().requires_grad_() for i in range(n_models)]
    theirs = [
        torch.optim.AdamW([p], lr=rates[i], weight_decay=decay[i], fused=True)
        for i, p in enumerate(params)
    ]
    for _ in range(5):
        gradient = torch.from_numpy(rng.normal(size=(n_models, n)))
        own.step(gradient, rates)
        for p, optimizer, g in zip(params, theirs, gradient, strict=True):
            p.grad = g
            optimizer.step()
    torch.testing.assert_close(rows, torch.stack([p.detach() for p in params]))


@pytest.mark.skipif(torch.get_num_threads() < 2, reason="operations take one thread")
@pytest.mark.skipif(not _OpenMP()._runtimes, reason="no OpenMP runtime")
def test_functions_that_wait_have_no_threads_of_their_own():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(n_threads)  # for threads to come, too
    assert call_together([torch.get_num_threads] * 3) == [1] * 3
    assert torch.get_num_threads() == n_threads
