import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from skae import MLP, Autoencoder, DenoisingAutoencoder
from skae.metrics import neg_reconstruction_error
from skae.training import _pretraining


class NormFirst(MLP):
    def build(self, **widths):
        encoder, decoder = super().build(**widths)
        return nn.Sequential(nn.LayerNorm(widths["n_inputs"]), *encoder), decoder


SHORT = {"max_iter": 1, "early_stopping": False, "random_state": 0}


def layer_errors(model, X):
    """Return how well each hidden layer's shallow autoencoder reconstructs its input."""
    module = model.module_
    encoder, decoder = list(module.encoder), list(module.decoder)
    errors = []
    x = torch.tensor((X - model.mean_) / model.scale_, dtype=torch.float32)
    with torch.no_grad():
        for i in range(0, len(encoder) - 1, 2):
            h = encoder[i + 1](encoder[i](x))
            errors.append(float((decoder[len(decoder) - 1 - i](h) - x).square().mean() / x.var()))
            x = h
    return errors


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("sizes", [(12,), (12, 10, 8)])
def test_each_layer_becomes_an_autoencoder_of_the_one_before(sheet, tied, sizes):
    textbook = {"init": "random", "linear_shortcut": False, "learning_rate": 1e-2}
    at_random, pretrained = (
        Autoencoder(
            2, architecture=MLP(sizes, tied=tied, pretraining_epochs=n), **textbook, **SHORT
        )
        .set_params(max_iter=1, batch_size=400)
        .fit(sheet)
        for n in (0, 200)
    )
    for before, after in zip(
        *(layer_errors(m, sheet) for m in (at_random, pretrained)), strict=True
    ):
        assert after < 0.3 * before


def test_one_layer_after_another(sheet, monkeypatch):
    sizes = []
    original = _pretraining.run

    def noting(job):
        width = job.module.encoder[0].out_features
        sizes.append((job.dataset.n_features, width, job.plan.max_epochs))
        return original(job)

    monkeypatch.setattr(_pretraining, "run", noting)
    Autoencoder(2, architecture=MLP((9, 4), pretraining_epochs=2), **SHORT).fit(sheet)
    assert sizes == [(6, 9, 2), (9, 4, 2)]


@pytest.mark.full
def test_a_deep_saturating_network_learns_that_otherwise_does_not(sheet):
    deep = {"init": "random", "linear_shortcut": False, "max_iter": 30, "random_state": 0}
    scores = [
        Autoencoder(
            2,
            architecture=MLP((16,) * 4, activation="logistic", pretraining_epochs=n),
            early_stopping=False,
            **deep,
        )
        .fit(sheet)
        .score(sheet)
        for n in (0, 40)
    ]
    assert scores[1] > 0.9 * scores[0]


@pytest.mark.full
@pytest.mark.parametrize("architecture", [MLP((9,)), MLP((9, 7)), MLP((9, 7, 5), tied=True)])
def test_the_start_is_still_pca_and_the_same_each_time(sheet, architecture):
    model = Autoencoder(2, architecture=architecture.set_params(pretraining_epochs=5), **SHORT)
    model.set_params(learning_rate=1e-12).fit(sheet)
    assert model.score(sheet) == pytest.approx(
        neg_reconstruction_error(PCA(2).fit(sheet), sheet), rel=1e-4
    )
    model.set_params(learning_rate=1e-3)
    assert np.array_equal(model.fit_transform(sheet), model.fit_transform(sheet))


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(
            2, architecture=MLP((8,), decoder_hidden_layer_sizes=(7,), pretraining_epochs=1)
        ),
        Autoencoder(
            2, architecture=MLP((8, 7), decoder_hidden_layer_sizes=(8,), pretraining_epochs=1)
        ),
        DenoisingAutoencoder(
            2, noise_level=(0.1, 0.5), architecture=MLP((8,), pretraining_epochs=1)
        ),
        Autoencoder(2, architecture=NormFirst((8,), pretraining_epochs=1)),
    ],
    ids=["other widths", "fewer layers", "sees the level", "normalised"],
)
def test_layers_that_do_not_mirror_are_refused(sheet, model):
    with pytest.raises(ValueError, match="inputs of the encoder must be.*set pretraining_epochs=0"):
        model.fit(sheet)
