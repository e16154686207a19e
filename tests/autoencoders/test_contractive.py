from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.autograd.functional import jacobian

from skae import MLP, Autoencoder, AutoencoderWarning, ContractiveAutoencoder, FunctionArchitecture
from skae.autoencoders._contractive import MAX_EXACT_DIMENSION, with_squared_jacobian
from skae.data import Batch, Random
from skae.training import seeded, total_of
from tests.tables import curve

PLAIN = {"early_stopping": False, "random_state": 0, "max_iter": 5}


def network(n_in, n_out):
    with seeded(0):
        layers = [torch.nn.Linear(n_in, 16), torch.nn.Tanh(), torch.nn.Linear(16, n_out)]
        return torch.nn.Sequential(*layers).double()


def with_dropout(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 8), nn.SiLU(), nn.Dropout(0.5), nn.Linear(8, n_out))


def exact(f, x):
    return torch.stack([jacobian(f, row).square().sum() for row in x])


forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")


@forward_mode
@pytest.mark.parametrize(("d", "k"), [(6, 1), (6, 3), (2, 9), (4, 4), (30, MAX_EXACT_DIMENSION)])
def test_penalty_is_the_jacobian_of_autograd(rng, d, k):
    f, x = network(d, k), torch.from_numpy(rng.normal(size=(7, d)))
    h, squared = with_squared_jacobian(f, x, k, Random(0, x))
    torch.testing.assert_close(squared, exact(f, x), rtol=1e-10, atol=0)
    torch.testing.assert_close(h, f(x))


@forward_mode
@pytest.mark.parametrize(("d", "k"), [(12, 7), (7, 12)])
def test_estimate_is_unbiased(rng, d, k):
    f, x = network(d, k), torch.from_numpy(rng.normal(size=(3, d)))
    h, draws = with_squared_jacobian(f, x.repeat(4000, 1), k, Random(0, x))
    torch.testing.assert_close(h[:3], f(x))
    draws = draws.detach().reshape(4000, 3)
    error = draws.std(0) / len(draws) ** 0.5
    assert (draws.std(0) > 0).all()
    assert ((draws.mean(0) - exact(f, x)).abs() < 4 * error).all()


def test_gradient_of_the_penalty_is_that_of_autograd(rng):
    f, x = network(5, 2), torch.from_numpy(rng.normal(size=(4, 5)))
    with_squared_jacobian(f, x, 2, Random(0, x))[1].sum().backward()
    got = [p.grad.clone() for p in f.parameters() if p.grad is not None]
    f.zero_grad()
    sum(jacobian(f, row, create_graph=True).square().sum() for row in x).backward()
    expected = [p.grad for p in f.parameters() if p.grad is not None]
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_penalty_counts_the_linear_path_and_the_weights(sheet):
    model = ContractiveAutoencoder(2, alpha=0.3, **PLAIN).fit(sheet)
    module = model._module_in(np.dtype(np.float64))
    x = torch.from_numpy((sheet[:9] - model.mean_) / model.scale_)
    batch = Batch(x, None, torch.ones(9), torch.ones(()))
    error = module.reconstruction_loss(module.decode(module.encode(x)), batch)
    penalty = total_of(model._objective(module, batch)) - error
    torch.testing.assert_close(penalty, 0.05 * exact(module.encode, x), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("k", [2, MAX_EXACT_DIMENSION + 1])
def test_without_weight_it_is_the_tied_autoencoder(sheet, k):
    class Tied(Autoencoder):
        def _tied(self):
            return True

    free = ContractiveAutoencoder(k, alpha=0.0, **PLAIN).fit(sheet)
    tied = Tied(k, architecture=MLP(tied=True), **PLAIN).fit(sheet)
    np.testing.assert_allclose(free.loss_curve_, tied.loss_curve_, rtol=1e-6)


def test_tied_means_one_set_of_weights(sheet):
    model = ContractiveAutoencoder(2, **PLAIN).fit(sheet)
    module = model.module_
    assert module.decoder_shortcut is None
    assert torch.equal(module.output_axes, module.input_axes.T)
    names = [name for name, p in module.named_parameters() if p.ndim == 2]
    assert names == [n for n in names if n.startswith("encoder")]


def test_a_decoder_that_is_free_to_grow_is_warned_of(sheet):
    free = ContractiveAutoencoder(2, tied=False, **PLAIN)
    given = ContractiveAutoencoder(2, architecture=MLP((8,)), **PLAIN)
    for growing in (free, given):
        with pytest.warns(AutoencoderWarning, match="not constrained.*tied=True"):
            growing.fit(sheet)
    ContractiveAutoencoder(2, tied=False, alpha=0.0, **PLAIN).fit(sheet)
    ContractiveAutoencoder(2, architecture=MLP((8,), tied=True), **PLAIN).fit(sheet)


def test_the_penalty_contracts(rng):
    """The code moves less under noise, relative to its spread, where the penalty is heavy."""
    X = curve(rng, n=600, noise=0.05)
    noisy = X + 0.05 * rng.normal(size=X.shape)
    moved = []
    for alpha in (0.0, 0.5):
        model = ContractiveAutoencoder(2, alpha=alpha, **PLAIN | {"max_iter": 20}).fit(X)
        Z = model.transform(X)
        moved.append(np.abs(model.transform(noisy) - Z).mean() / Z.std())
    assert moved[1] < 0.9 * moved[0]


def test_codes_move_less_than_the_plain_ones_at_equal_error(rng):
    X = load_digits().data
    X, test = X[:600], X[1300:]
    noisy = test + 0.5 * X.std(axis=0) * rng.normal(size=test.shape)
    options = PLAIN | {"max_iter": 15}
    contractive = ContractiveAutoencoder(8, **options).fit(X)
    error = -contractive.score(test)
    for epochs in range(1, 15):
        # A plain code that trains for long has less error.
        plain = ContractiveAutoencoder(8, alpha=0.0, **options | {"max_iter": epochs}).fit(X)
        if -plain.score(test) < error:
            break
    assert -plain.score(test) == pytest.approx(error, rel=0.1)
    moved = []
    for model in (plain, contractive):
        Z = model.transform(test)
        distance = ((model.transform(noisy) - Z) ** 2).mean(axis=0).sum()
        moved.append(np.sqrt(distance / Z.var(axis=0).sum()))
    assert moved[1] < 0.98 * moved[0]


@pytest.mark.parametrize("k", [2, 6])
def test_layers_that_draw(sheet, k):
    """Where the penalty is exact and where it is estimated."""
    architecture = FunctionArchitecture(
        encoder=with_dropout, decoder=partial(nn.Linear, bias=False)
    )
    model = ContractiveAutoencoder(k, architecture=architecture, init="random", **PLAIN)
    with pytest.warns(AutoencoderWarning, match="not constrained"):
        assert np.isfinite(model.fit(sheet).score(sheet))


def test_code_does_not_vanish_under_a_moderate_penalty():
    X = load_digits().data[:600]
    light, heavy = (
        ContractiveAutoencoder(8, alpha=alpha, **PLAIN | {"max_iter": 20}).fit(X).transform(X)
        for alpha in (0.0, 0.5)
    )
    assert heavy.std() > 0.5 * light.std()


def test_sigmoid_code_of_the_paper(sheet):
    """Tied logistic layers from random weights, as in Rifai et al. (2011)."""
    model = ContractiveAutoencoder(
        2, activation="logistic", init="random", linear_shortcut=False, **PLAIN
    )
    assert np.isfinite(model.fit(sheet).score(sheet))


def test_overcomplete_is_warned_of_without_the_penalty_only(sheet):
    with pytest.warns(AutoencoderWarning, match="the identity is a solution"):
        ContractiveAutoencoder(8, alpha=0.0, **PLAIN).fit(sheet)
    ContractiveAutoencoder(8, **PLAIN).fit(sheet)
