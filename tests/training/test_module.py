import numpy as np
import torch

from skae import MLP
from skae.data import Batch, Conditioning
from skae.losses import LOSSES
from skae.training import AutoencoderModule, seeded


def build(loss="squared_error", shortcut=True, architecture=True, d=5, k=2, shift=0.0, scale=1.0):
    sizes = {"n_inputs": d, "n_code": k, "n_components": k, "n_outputs": d}
    with seeded(0):
        networks = MLP((4,)).build(**sizes) if architecture else (None, None)
        return AutoencoderModule(
            *networks,
            **sizes,
            linear_shortcut=shortcut,
            loss=LOSSES[loss],
            conditioning=Conditioning(np.full(d, shift), scale),
        )


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def batch(x, observed=None):
    return Batch(x, observed, torch.ones(len(x)), torch.zeros(()))


def test_paths_add_up():
    x = randn(7, 5)
    module = build()
    h = module.encode(x)
    torch.testing.assert_close(h, x @ module.encoder_shortcut.weight.T + module.encoder(x))
    with torch.no_grad():
        module.output_bias += 1
    torch.testing.assert_close(
        module.decode(h), h @ module.decoder_shortcut.weight.T + module.decoder(h) + 1
    )
    alone = build(shortcut=False)
    torch.testing.assert_close(alone.encode(x), alone.encoder(x))
    linear = build(architecture=False)
    torch.testing.assert_close(linear.encode(x), x @ linear.encoder_shortcut.weight.T)


def test_loss_is_the_mean_over_observed_cells_of_a_row():
    module = build()
    x, output = randn(3, 5), randn(4, 5)[1:]
    observed = torch.tensor([[1.0, 1, 0, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    losses = module.reconstruction_loss(output, batch(x, observed))
    error = (output - x) ** 2
    torch.testing.assert_close(losses[0], error[0, [0, 1, 4]].mean())
    torch.testing.assert_close(losses[1], error[1].mean())
    assert losses[2] == 0
    full = module.reconstruction_loss(output, batch(x))
    torch.testing.assert_close(full, error.mean(1))


def test_a_loss_that_cannot_be_rescaled_sees_x_as_given():
    module = build("log_loss", shift=0.5, scale=0.25)
    x = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0]])
    conditioned = batch((x - 0.5) / 0.25)
    output = randn(1, 5)
    expected = LOSSES["log_loss"].cell(output, x).mean(1)
    torch.testing.assert_close(module.reconstruction_loss(output, conditioned), expected)


def test_start_at_axes_is_their_projection():
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 2)))[0].T
    module = build(k=3)
    with seeded(0):
        module.start(np.zeros(5), axes, MLP().zero_init_parameters(module.encoder, module.decoder))
    x = randn(6, 5)
    projected = x @ torch.tensor(axes.T @ axes, dtype=torch.float32)
    torch.testing.assert_close(module.decode(module.encode(x)), projected)
    assert module.encode(x)[:, 2].abs().max() > 0
    module.decode(module.encode(x)).sum().backward()
    assert module.decoder_shortcut.weight.grad[:, 2].abs().max() > 0, "new codes can be learned"
