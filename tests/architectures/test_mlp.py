import pytest
import torch
from torch import nn

from skae import MLP
from skae.architectures._layers import ACTIVATIONS
from skae.training import seeded


def build(architecture, *sizes):
    with seeded(0):
        return architecture.build(*sizes)


def test_widths_may_all_differ():
    encoder, decoder = build(MLP((5, 4)), 12, 6, 3, 10)
    assert encoder(torch.zeros(2, 12)).shape == (2, 6)
    assert decoder(torch.zeros(2, 3)).shape == (2, 10)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_follows_every_hidden_layer_and_no_other(name):
    encoder, decoder = build(MLP((5, 4), activation=name), 3, 2, 2, 3)
    for network in (encoder, decoder):
        assert [type(layer) for layer in network] == [
            *[nn.Linear, ACTIVATIONS[name]] * 2,
            nn.Linear,
        ]


def test_no_hidden_layers_is_linear():
    encoder, _ = build(MLP(()), 3, 2, 2, 3)
    assert [type(layer) for layer in encoder] == [nn.Linear]
