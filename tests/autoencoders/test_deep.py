import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import log_loss
from sklearn.preprocessing import MinMaxScaler
from torch import nn

from skae import MLP, Autoencoder, AutoencoderWarning
from skae.metrics import explained_variance


def widths(network):
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]


@pytest.mark.parametrize("sizes", [(), (5,), (9, 4), (20, 15, 10, 5), 7])
def test_any_depth_mirrored(sheet, sizes):
    model = Autoencoder(3, hidden_layer_sizes=sizes, max_iter=2, early_stopping=False).fit(sheet)
    hidden = [sizes] if isinstance(sizes, int) else list(sizes)
    assert widths(model.module_.encoder) == [6, *hidden, 3]
    assert widths(model.module_.decoder) == [3, *hidden[::-1], 6]
    assert model.transform(sheet).shape == (400, 3)


def test_flat_parameters_are_those_of_the_architecture(sheet):
    architecture = MLP(hidden_layer_sizes=(5,), activation="tanh")
    same = {"max_iter": 3, "early_stopping": False, "random_state": 0}
    nested = Autoencoder(2, architecture=architecture, **same).fit(sheet)
    flat = Autoencoder(2, hidden_layer_sizes=(5,), activation="tanh", **same).fit(sheet)
    np.testing.assert_array_equal(nested.transform(sheet), flat.transform(sheet))
    assert nested.architecture_ is not architecture
    assert flat.architecture_.get_params() == architecture.get_params()
    assert flat.architecture is None


def test_textbook_network_has_no_linear_path(sheet):
    model = Autoencoder(2, init="random", linear_shortcut=False, max_iter=80, random_state=0)
    model.fit(sheet)
    assert model.module_.encoder_shortcut is None
    assert model.module_.decoder_shortcut is None
    assert explained_variance(model, sheet) > explained_variance(PCA(2).fit(sheet), sheet)


def test_overcomplete_code_warns(sheet):
    model = Autoencoder(9, max_iter=2, early_stopping=False)
    with pytest.warns(AutoencoderWarning, match="n_components=9 is more than the 6 features"):
        model.fit(sheet)
    assert model.transform(sheet).shape == (400, 9)
    np.testing.assert_allclose(model.reconstruct(sheet), sheet, atol=0.2)


def test_one_nonlinear_layer_and_a_linear_output_do_not_beat_pca():
    """Bourlard and Kamp (1988): the optimum of x -> B phi(A x + a) + b is still PCA's."""
    X = load_breast_cancer().data
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    k = 3

    class OneLayer(MLP):
        def build(self, n_inputs, n_code, n_components, n_outputs):
            encoder = nn.Sequential(nn.Linear(n_inputs, n_code), nn.Tanh())
            return encoder, nn.Sequential(nn.Linear(n_components, n_outputs))

    pca_error = np.mean((PCA(k).fit(X).inverse_transform(PCA(k).fit_transform(X)) - X) ** 2)
    model = Autoencoder(
        k,
        architecture=OneLayer(),
        init="random",
        linear_shortcut=False,
        early_stopping=False,
        learning_rate=1e-2,
        max_iter=150,
        random_state=0,
    ).fit(X)
    assert pca_error * (1 - 1e-6) <= -model.score(X) < 1.3 * pca_error


def test_log_loss_is_the_cross_entropy_of_probabilities():
    X = MinMaxScaler().fit_transform(load_digits().data) > 0.5
    model = Autoencoder(16, loss="log_loss", max_iter=40, random_state=0).fit(X)
    p = model.reconstruct(X)
    assert (p >= 0).all()
    assert (p <= 1).all()
    assert -model.score(X) == pytest.approx(log_loss(X.ravel(), p.ravel()), rel=1e-4)
    base = np.broadcast_to(X.mean(axis=0).clip(1e-3, 1 - 1e-3), X.shape)
    assert -model.score(X) < 0.5 * log_loss(X.ravel(), base.ravel())
    np.testing.assert_array_equal(model.inverse_transform(model.transform(X)), p)


def test_log_loss_starts_at_the_mean(rng):
    X = (rng.random((500, 4)) < [0.1, 0.5, 0.9, 0.3]).astype(float)
    model = Autoencoder(
        1,
        loss="log_loss",
        linear_shortcut=False,
        hidden_layer_sizes=(4,),
        max_iter=1,
        learning_rate=1e-9,
        early_stopping=False,
    ).fit(X)
    bias = model.module_.output_bias.detach().double()
    np.testing.assert_allclose(torch.sigmoid(bias), X.mean(axis=0), rtol=1e-4)


def test_log_loss_ignores_missing_values(rng):
    X = (rng.random((300, 6)) < 0.4).astype(float)
    X_missing = np.where(rng.random(X.shape) < 0.2, np.nan, X)
    model = Autoencoder(2, loss="log_loss", max_iter=5, random_state=0).fit(X_missing)
    p, seen = model.reconstruct(X_missing), ~np.isnan(X_missing)
    cells = -np.where(X == 1, np.log(p), np.log1p(-p))
    expected = np.where(seen, cells, 0).sum(axis=1) / seen.sum(axis=1)
    np.testing.assert_allclose(-model.score_samples(X_missing), expected, rtol=1e-9)


def test_an_architecture_must_end_in_weights_for_a_start_at_pca(sheet):
    class Bounded(MLP):
        def build(self, **widths):
            encoder, decoder = super().build(**widths)
            return nn.Sequential(*encoder, nn.Tanh()), decoder

    with pytest.raises(ValueError, match="build two nn.Sequential that end in a layer with weigh"):
        Autoencoder(2, architecture=Bounded(), max_iter=2).fit(sheet)
    bounded = Autoencoder(
        2, architecture=Bounded(), init="random", linear_shortcut=False, max_iter=2
    ).fit(sheet)
    assert np.abs(bounded.transform(sheet)).max() <= 1


def test_loss_curve_is_in_units_of_the_scale(sheet):
    """It starts at the share of the variance that PCA leaves unexplained."""
    model = Autoencoder(2, max_iter=1, learning_rate=1e-12, early_stopping=False).fit(9 * sheet)
    unexplained = 1 - PCA(2).fit(sheet).explained_variance_ratio_.sum()
    assert model.loss_curve_[0] == pytest.approx(unexplained, rel=1e-4)
