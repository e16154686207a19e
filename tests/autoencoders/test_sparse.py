import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from sklearn.datasets import load_digits

from skae import MLP, Autoencoder, AutoencoderWarning, SparseAutoencoder
from skae.autoencoders._dictionary import DictionaryAutoencoder
from skae.autoencoders._sparse import bernoulli_kl
from skae.data import Batch
from skae.hyperparameters import hyperparameters
from skae.training import total_of

PLAIN = {"early_stopping": False, "random_state": 0, "max_iter": 5}


@pytest.fixture(scope="module")
def digits():
    return load_digits().data


@hyperparameters
class Rectified(DictionaryAutoencoder):
    """The network and the code of a sparse autoencoder, without its penalty.

    Parameters
    ----------
    {parameters}
    """

    def _code(self, module, h):
        return torch.relu(h)


class Logistic(Rectified):
    def _before_fit(self, module, rows):
        torch.nn.init.constant_(module.encoder[0].bias, np.log(0.05 / 0.95))

    def _default_architecture(self, **flat):
        return super()._default_architecture(unit_norm="rms", **flat)

    def _code(self, module, h):
        return torch.sigmoid(h)


overcomplete = pytest.mark.filterwarnings("ignore:n_components=.* is more than")


@overcomplete
@pytest.mark.parametrize(
    ("penalty", "plain"), [("l1", Rectified), ("l2", Rectified), ("kl", Logistic)]
)
def test_without_weight_it_is_the_plain_network(sheet, penalty, plain):
    sparse = SparseAutoencoder(9, penalty=penalty, alpha=0.0, **PLAIN).fit(sheet)
    np.testing.assert_allclose(
        sparse.loss_curve_, plain(9, **PLAIN).fit(sheet).loss_curve_, rtol=1e-6
    )


def kl_divergence(rho, mean):
    return rel_entr(rho, mean) + rel_entr(1 - rho, 1 - mean)


def batch_of(x, weight):
    return Batch(x, None, weight, torch.ones(()))


@pytest.mark.parametrize("target", [None, 0.2])
@pytest.mark.parametrize("penalty", ["l1", "l2", "kl"])
def test_penalty_is_its_formula(sheet, rng, penalty, target):
    model = SparseAutoencoder(9, penalty=penalty, alpha=0.7, target_activation=target, **PLAIN)
    model.fit(sheet)
    h = torch.from_numpy(rng.normal(size=(30, 9)))
    w = rng.uniform(0.1, 1, size=30)
    got = model._penalty(model.module_, batch_of(h, torch.from_numpy(w)), h, h).numpy()
    z = 1 / (1 + np.exp(-h.numpy())) if penalty == "kl" else np.maximum(h.numpy(), 0)
    mean = np.average(z, axis=0, weights=w)
    rho = 0.05 if target is None else target
    expected = {
        ("l1", None): z.sum(1) / 3,
        ("l2", None): (z**2).sum(1) / 9,
        ("l1", 0.2): np.full(30, np.abs(mean - 0.2).sum() / 3),
        ("l2", 0.2): np.full(30, ((mean - 0.2) ** 2).sum() / 9),
    }.get((penalty, target), np.full(30, kl_divergence(rho, mean).sum()))
    np.testing.assert_allclose(got, 0.7 * expected, rtol=1e-10)


def test_kl_and_its_gradient_are_the_closed_form(rng):
    mean = torch.from_numpy(rng.uniform(0.01, 0.99, size=50)).requires_grad_()
    kl = bernoulli_kl(0.1, mean)
    kl.sum().backward()
    m = mean.detach().numpy()
    np.testing.assert_allclose(kl.detach().numpy(), kl_divergence(0.1, m), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(mean.grad.numpy(), -0.1 / m + 0.9 / (1 - m), rtol=1e-9)
    assert np.abs(mean.grad.numpy()).min() > 0


@pytest.mark.parametrize("penalty", ["l1", "l2", "kl"])
@pytest.mark.parametrize("target", [None, 0.1])
def test_weights_are_repetitions_in_a_batch(sheet, penalty, target):
    model = SparseAutoencoder(9, penalty=penalty, target_activation=target, alpha=1.0, **PLAIN)
    model.fit(sheet)
    x = torch.from_numpy(sheet[:20]).float()
    count = torch.tensor([1, 2, 3, 1] * 5)
    weighted = total_of(model._objective(model.module_, batch_of(x, count.float())))
    again = x.repeat_interleave(count, 0)
    repeated = total_of(model._objective(model.module_, batch_of(again, torch.ones(len(again)))))
    torch.testing.assert_close(weighted @ count.float() / count.sum(), repeated.mean())


def test_columns_of_the_decoder_keep_their_size(digits):
    model = SparseAutoencoder(20, alpha=1.0, **PLAIN).fit(digits)
    written = model.inverse_transform(np.eye(20)) - model.inverse_transform(np.zeros((1, 20)))
    np.testing.assert_allclose((written**2).sum(1), model.scale_**2, rtol=1e-5)


@pytest.mark.full
@overcomplete
@pytest.mark.parametrize("penalty", ["l1", pytest.param("l2", marks=pytest.mark.full)])
def test_the_penalty_makes_codes_sparse_and_not_just_small(digits, penalty):
    light, heavy = (
        SparseAutoencoder(random_state=0, max_iter=60, penalty=penalty, alpha=alpha).fit(digits)
        for alpha in (0.0, 0.1)
    )
    codes = [m.transform(digits) for m in (light, heavy)]
    zeros = [(z == 0).mean() for z in codes]
    sizes = [z[z > 0].std() for z in codes]
    assert light.transform(digits[:2]).shape == (2, 128)
    assert zeros[1] > zeros[0] + (0.3 if penalty == "l1" else 0.02)
    assert sizes[1] > 0.5 * sizes[0]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")  # of the plain wide code
def test_more_zeros_than_the_plain_code_at_equal_error(digits):
    train, test = digits[:700], digits[1300:]
    sparse = SparseAutoencoder(**PLAIN | {"max_iter": 30}).fit(train)
    error = -sparse.score(test)
    for epochs in range(6, 30, 2):
        # A plain code that trains for long has less error and still fewer zeros.
        plain = SparseAutoencoder(alpha=0, **PLAIN | {"max_iter": epochs}).fit(train)
        if -plain.score(test) < error:
            break
    assert -plain.score(test) == pytest.approx(error, rel=0.15)
    zeros = [(model.transform(test) == 0).mean() for model in (plain, sparse)]
    assert zeros[1] > zeros[0] + 0.05


@pytest.mark.full
@overcomplete
def test_kl_draws_activations_to_the_target(digits):
    free, drawn = (
        SparseAutoencoder(
            penalty="kl", alpha=alpha, target_activation=0.1, random_state=0, max_iter=30
        )
        .fit(digits)
        .transform(digits)
        .mean(0)
        for alpha in (0.0, 1.0)
    )
    assert np.abs(drawn - 0.1).mean() < 0.2 * np.abs(free - 0.1).mean()


def test_a_decoder_that_is_free_to_grow_is_warned_of(sheet):
    free = SparseAutoencoder(9, architecture=MLP((8,)), **PLAIN)
    with_shortcut = SparseAutoencoder(9, linear_shortcut=True, **PLAIN)
    for growing in (free, with_shortcut):
        with pytest.warns(AutoencoderWarning, match=r"not constrained.*MLP\(unit_norm='l2'\)"):
            growing.fit(sheet)
    held = MLP((8,), unit_norm="l2")
    SparseAutoencoder(9, architecture=held, **PLAIN).fit(sheet)


def test_a_wide_code_without_penalty_is_warned_of(sheet):
    with pytest.warns(AutoencoderWarning, match="the identity is a solution"):
        SparseAutoencoder(alpha=0.0, **PLAIN).fit(sheet)
    SparseAutoencoder(**PLAIN).fit(sheet)


def test_bad_parameters_are_named(sheet):
    with pytest.raises(ValueError, match="The 'penalty' parameter .* among .*'l1'"):
        SparseAutoencoder(penalty="l3").fit(sheet)
    with pytest.raises(ValueError, match=r"target_activation, but it is 1.5; choose one below 1"):
        SparseAutoencoder(penalty="kl", target_activation=1.5).fit(sheet)
    with pytest.raises(ValueError, match="init='pca' requires .* got the code of a Sparse"):
        SparseAutoencoder(init="pca", linear_shortcut=True).fit(sheet)
    with pytest.raises(ValueError, match="unit_norm does not allow"):
        Autoencoder(2, architecture=MLP(unit_norm="l2")).fit(sheet)


def test_changing_parameters_after_the_fit_changes_nothing(sheet):
    model = SparseAutoencoder(9, **PLAIN).fit(sheet)
    before = model.transform(sheet), model.score_samples(sheet)
    model.set_params(penalty="kl", n_components=3)
    assert np.array_equal(model.transform(sheet), before[0])
    assert np.array_equal(model.score_samples(sheet), before[1])
