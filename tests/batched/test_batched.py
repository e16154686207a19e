"""Models that are trained together are what they would be alone."""

import logging
import warnings

import numpy as np
import pytest
import torch
from sklearn import get_config
from sklearn.base import clone
from sklearn.datasets import load_digits

import skae
from skae import (
    Autoencoder,
    ContractiveAutoencoder,
    Conv,
    DenoisingAutoencoder,
    FTTransformer,
    KSparseAutoencoder,
    LinearAutoencoder,
    MLP,
    MaskedAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
)
from skae.batched import call_together
from skae.batched._adam import StackedAdamW
from skae.batched._numbers import NotCommonError, Number
from skae.batched._together import Group
from skae.exceptions import DivergenceError

pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")

SHORT = {"hidden_layer_sizes": (16,), "max_iter": 4, "batch_size": 32, "random_state": 0}
TINY = {"width": 8, "n_layers": 1, "n_heads": 2, "decoder_width": 8}


@pytest.fixture(scope="module")
def X():
    return load_digits().data[:200, 20:36]


@pytest.fixture
def sizes(monkeypatch):
    """The sizes of the groups that are trained together."""
    found, run = [], Group.run

    def counted(group):
        found.append(len(group.members))
        return run(group)

    monkeypatch.setattr(Group, "run", counted)
    return found


def fit_together(models, X, **params):
    results = call_together([lambda m=m: clone(m).fit(X, **params) for m in models])
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


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


def grid(cls, **values):
    ((name, options),) = values.items()
    return [
        cls(
            3,
            **SHORT | ({"hidden_layer_sizes": None} if name == "architecture" else {}),
            **{name: value, "learning_rate": rate},
        )
        for value in options
        for rate in (1e-3, 1e-2)
    ]


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (grid(Autoencoder, weight_decay=[0.0, 0.1]), [4]),
        (grid(Autoencoder, schedule=["constant", "linear"]), [4]),
        (grid(Autoencoder, architecture=[MLP((8,), activation=a) for a in ("relu", "tanh")]), [2, 2]),
        (grid(Autoencoder, init=["random"]), [2]),
        (grid(SparseAutoencoder, alpha=[0, 0.1, 1]), [6]),
        (grid(SparseAutoencoder, target_activation=[0.1, 0.2]), [4]),
        ([m.set_params(penalty="kl") for m in grid(SparseAutoencoder, target_activation=[0.1, 0.2])], [4]),
        (grid(KSparseAutoencoder, n_nonzero_coefs=[1, 2]), [2, 2]),
        (grid(DenoisingAutoencoder, noise_level=[0.1, 0.3]), [4]),
        (grid(DenoisingAutoencoder, noise_level=[(0.1, 0.3), (0.1, 0.5)]), [4]),
        ([m.set_params(noise="swap") for m in grid(DenoisingAutoencoder, noise_level=[0.1, 0.3])], [4]),
        (grid(ContractiveAutoencoder, alpha=[0.0, 0.1, 1.0]), [2, 4]),
        (grid(VariationalAutoencoder, beta=[0.5, 1.0]), [4]),
        (grid(VariationalAutoencoder, warm_up=[0.0, 0.3, 0.5]), [2, 4]),
        (
            [
                MaskedAutoencoder(
                    architecture=FTTransformer(**TINY),
                    learning_rate=rate,
                    max_iter=2,
                    random_state=0,
                )
                for rate in (1e-3, 1e-2)
            ],
            [2],
        ),
        (
            [
                Autoencoder(3, architecture=Conv((4,)), learning_rate=rate, max_iter=2, random_state=0)
                for rate in (1e-3, 1e-2)
            ],
            [2],
        ),
    ],
    ids=lambda value: type(value[0]).__name__ + str(len(value)) if len(value) > 1 else "",
)  # fmt: skip
def test_models_are_what_they_would_be_alone(X, sizes, models, expected):
    together = fit_together(models, X)
    assert sorted(sizes) == expected
    for model, fitted in zip(models, together, strict=True):
        assert_same_fit(fitted, clone(model).fit(X))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_models_end_at_their_own_epochs(X, sizes, early_stopping):
    models = [
        SparseAutoencoder(3, early_stopping=early_stopping, n_iter_no_change=n, **SHORT).set_params(
            max_iter=max_iter, learning_rate=rate
        )
        for max_iter in (1, 3, 12)
        for rate in (1e-3, 0.1)
        for n in (1, 3)
    ]
    together = fit_together(models, X)
    assert sizes == [12]
    alone = [clone(model).fit(X) for model in models]
    assert len({len(model.loss_curve_) for model in alone}) > 2
    for fitted, model in zip(together, alone, strict=True):
        assert_same_fit(fitted, model)


def test_samples_weights_and_missing_values_are_their_own(X, sizes, rng):
    X_missing = np.where(rng.uniform(size=X.shape) < 0.1, np.nan, X)
    weight = rng.uniform(0.5, 1, size=len(X))
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
        np.testing.assert_allclose(fitted.transform(X), own.transform(X), rtol=1e-2, atol=1e-3)


def test_a_model_that_diverges_leaves_the_others(X):
    models = [Autoencoder(3, learning_rate=rate, **SHORT) for rate in (1e-3, 1e9, 1e-2)]
    results = call_together([lambda m=m: clone(m).fit(X) for m in models])
    assert isinstance(results[1], DivergenceError)
    with pytest.raises(DivergenceError) as alone:
        models[1].fit(X)
    assert str(results[1]).split(":")[0] == str(alone.value).split(":")[0]
    for model, fitted in zip(models[::2], results[::2], strict=True):
        assert_same_fit(fitted, clone(model).fit(X))


def test_a_fit_resumes_with_the_moments_of_a_batch(X):
    models = [Autoencoder(3, warm_start=True, learning_rate=r, **SHORT) for r in (1e-3, 1e-2)]
    for fitted, model in zip(fit_together(models, X), models, strict=True):
        assert_same_fit(fitted.fit(X), clone(model).fit(X).fit(X))


class Branching(SparseAutoencoder):
    """A variant that reads its hyperparameter in ways that tensors do not allow."""

    def _penalty(self, module, batch, h, output):
        if self.alpha > 0.5:
            return 2 * self.alpha * h.square().sum(1)
        return float(np.exp(self.alpha)) * h.abs().sum(1)


def test_hooks_that_need_a_number_are_batched_by_equal_ones(X, sizes, caplog):
    models = [
        Branching(3, alpha=alpha, learning_rate=rate, **SHORT)
        for alpha in (0.1, 0.2, 0.6, 0.9)
        for rate in (1e-3, 1e-2)
    ]
    with caplog.at_level(logging.INFO, logger="skae"):
        together = fit_together(models, X)
    assert sorted(sizes) == [2, 2, 4]
    assert "Only models with equal alpha are batched" in caplog.text
    for model, fitted in zip(models, together, strict=True):
        assert_same_fit(fitted, clone(model).fit(X))


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"net_params": {"optimizer": "SGD"}}, "net_params"),
        ({"precision": "bf16"}, "bf16"),
        ({"verbose": 1}, "a line per epoch"),
    ],
)
def test_what_cannot_be_batched_is_fitted_by_itself(X, sizes, caplog, params, reason):
    models = [Autoencoder(3, learning_rate=rate, **params, **SHORT) for rate in (1e-4, 1e-3)]
    with caplog.at_level(logging.INFO, logger="skae"):
        together = fit_together(models, X)
    assert not sizes
    assert caplog.text.count(reason) == 2
    for model, fitted in zip(models, together, strict=True):
        assert_same_fit(fitted, clone(model).fit(X), rtol=0)


def test_groups_are_divided_to_fit_into_memory(X, sizes, monkeypatch):
    rates = (1e-3, 2e-3, 3e-3, 4e-3, 5e-3)
    models = [Autoencoder(3, learning_rate=rate, **SHORT) for rate in rates]
    n_weights = sum(w.numel() for w in clone(models[0]).fit(X).module_.parameters())
    widths = 16 + 3 + 16 + 16 + 3 + 16  # of the layers and of the shortcuts
    cells_of_one = 32 * 6 * (widths + 16) + 8 * n_weights + X.size
    monkeypatch.setattr("skae.batched._together.MAX_CELLS", 2 * cells_of_one)
    together = fit_together(models, X)
    assert sizes == [2, 2]  # the last one is trained by itself
    for model, fitted in zip(models, together, strict=True):
        assert_same_fit(fitted, clone(model).fit(X))


# ------------------------------------------------------------------------------------ functions


def test_functions_keep_their_own_warnings_and_configuration(X):
    before = list(warnings.filters), warnings.showwarning, get_config()

    def function(action, n):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            Autoencoder(2, **SHORT).fit(X)
            warnings.warn(f"number {n}", UserWarning, stacklevel=1)
            Autoencoder(2, **SHORT).fit(X)
        return [str(w.message) for w in caught if "number" in str(w.message)]

    calls = [lambda n=n: function("always" if n % 2 else "ignore", n) for n in range(4)]
    assert call_together(calls) == [[], ["number 1"], [], ["number 3"]]
    assert (list(warnings.filters), warnings.showwarning, get_config()) == before


def test_errors_are_returned_where_they_belong(X):
    def fails():
        Autoencoder(2, **SHORT).fit(X)
        raise KeyError("mine")

    results = call_together([fails, lambda: 3, lambda: Autoencoder(2, **SHORT).fit(X)])
    assert isinstance(results[0], KeyError)
    assert results[1] == 3
    assert isinstance(results[2], Autoencoder)


def test_calls_may_be_nested(X):
    inner = [lambda: Autoencoder(2, **SHORT).fit(X).n_iter_] * 2
    assert call_together([lambda: call_together(inner)] * 2) == [[4, 4], [4, 4]]


def test_an_interrupt_ends_all_functions(X, monkeypatch):
    ended = []

    def function():
        try:
            Autoencoder(2, **SHORT).fit(X)
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
    rates, decay = torch.tensor([[1e-3], [1e-2], [0.1]]).double(), [0.0, 0.1, 0.5]
    rows = start.clone()
    own = StackedAdamW(rows, torch.tensor(decay)[:, None].double())
    params = [start[i].clone().requires_grad_() for i in range(n_models)]
    theirs = [
        torch.optim.AdamW([p], lr=float(rates[i]), weight_decay=decay[i], fused=True)
        for i, p in enumerate(params)
    ]
    for _ in range(5):
        gradient = torch.from_numpy(rng.normal(size=(n_models, n)))
        own.step(gradient, rates)
        for p, optimizer, g in zip(params, theirs, gradient, strict=True):
            p.grad = g
            optimizer.step()
    torch.testing.assert_close(rows, torch.stack([p.detach() for p in params]))


def test_the_package_has_the_module():
    assert skae.batched.call_together is call_together
    assert LinearAutoencoder(2).fit(np.eye(4)).n_components_ == 2
