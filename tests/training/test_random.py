"""Randomness as a value: no fit reads, moves or locks what others draw from."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn

import skae
from skae import (
    Autoencoder,
    AutoencoderCompressor,
    AutoencoderImputer,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    FunctionArchitecture,
    KSparseAutoencoder,
    VariationalAutoencoder,
)
from skae.data import Batch, Random
from skae.training import seeded
from skae.training._random import drawing_from, draws_by_itself

SHORT = {"max_iter": 2, "early_stopping": False, "random_state": 0}


def test_draws_have_the_distributions_they_are_named_after():
    random, n = Random(0, torch.empty(0, dtype=torch.float64)), 100_000
    uniform, normal, signs = random.uniform(n), random.normal(n), random.signs(n)
    assert uniform.dtype == normal.dtype == signs.dtype == torch.float64
    assert 0 <= uniform.min() < 1e-3
    assert 1 - 1e-3 < uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.02
    integers = random.integers(3, 2, n)
    assert integers.shape == (2, n)
    np.testing.assert_allclose(integers.flatten().bincount() / (2 * n), 1 / 3, atol=0.01)
    weight = torch.tensor([0.0, 1.0, 0.0, 3.0])
    np.testing.assert_allclose(
        random.choices(weight, n).bincount(minlength=4) / n, [0, 0.25, 0, 0.75], atol=0.01
    )


def test_the_same_seed_is_the_same_draws_whatever_others_draw():
    like = torch.empty(0)
    alone, other = Random(3, like), Random(3, like)
    first = alone.normal(4)
    torch.rand(7, generator=torch.Generator())
    assert torch.equal(other.normal(4), first)
    assert not torch.equal(alone.normal(4), first)


def test_on_the_meta_device_nothing_is_drawn():
    random = Random(0, torch.empty(0, device="meta"))
    assert random.uniform(2, 3).device.type == random.signs(4).device.type == "meta"
    assert random.integers(5, 2).shape == (2,)


def made_of_many(n_in, n_out):
    last = nn.Linear(16, n_out)
    nn.init.orthogonal_(last.weight)
    hidden = nn.TransformerEncoderLayer(16, 2, 8, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(n_in, 16), nn.Unflatten(1, (1, 16)), hidden, nn.Flatten(), last)


def test_initial_weights_come_from_the_generator_in_this_thread_alone():
    before = torch.get_rng_state()
    for make in (made_of_many, nn.LSTM):
        for one, other in zip(built(make), built(make), strict=True):
            assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def built(make):
    with drawing_from(torch.Generator().manual_seed(5)):
        network, drawn = make(3, 2), torch.rand(2)
        return [*network.parameters(), drawn, torch.randperm(5), torch.randn_like(drawn)]


def test_initial_weights_are_those_of_a_seeded_global_generator():
    with seeded(5):
        expected = nn.Linear(7, 3)
    with drawing_from(torch.Generator().manual_seed(5)):
        layer = nn.Linear(7, 3)
    assert torch.equal(layer.weight, expected.weight)


VARIANTS = [
    Autoencoder(2, **SHORT),
    Autoencoder(2, init="random", **SHORT),
    ContractiveAutoencoder(5, hidden_layer_sizes=(7,), **SHORT),
    DenoisingAutoencoder(noise="swap", noise_level=(0.1, 0.4), **SHORT),
    DenoisingAutoencoder(noise="salt_and_pepper", **SHORT),
    KSparseAutoencoder(mask_ratio=0.2, **SHORT),
    VariationalAutoencoder(2, **SHORT),
    AutoencoderImputer(max_iter=2, random_state=0),
    AutoencoderCompressor(Autoencoder(2, **SHORT)),
]


@pytest.mark.parametrize("model", VARIANTS, ids=lambda m: type(m).__name__)
def test_nothing_waits_for_torchs_global_generator(sheet, model, tmp_path):
    """Another thread keeps it: fits, copies, pickles and files do not ask for it."""
    held, release = threading.Event(), threading.Event()

    def hold():
        with seeded(0):
            held.set()
            release.wait()

    def work():
        fitted = model.fit(sheet)
        copy.deepcopy(fitted)
        pickle.loads(pickle.dumps(fitted))
        skae.save(fitted, tmp_path / "model")
        results.append(skae.load(tmp_path / "model").transform(sheet))

    results: list = []
    keeper = threading.Thread(target=hold)
    worker = threading.Thread(target=work, daemon=True)
    keeper.start()
    held.wait()
    worker.start()
    worker.join(timeout=120)
    release.set()
    keeper.join()
    assert len(results) == 1


def with_dropout(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 8), nn.Dropout(0.5), nn.Linear(8, n_out))


def test_layers_of_users_that_draw_are_seeded_for_each_step(sheet):
    networks = FunctionArchitecture(encoder=with_dropout, decoder=with_dropout)
    model = Autoencoder(2, architecture=networks, **SHORT)
    before = torch.get_rng_state()
    codes = model.fit(sheet).transform(sheet)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(model.fit(sheet).transform(sheet), codes)
    other = model.set_params(random_state=1).fit(sheet).transform(sheet)
    assert not np.allclose(other, codes)


def test_which_layers_may_draw():
    with drawing_from(torch.Generator()):
        quiet = nn.Sequential(nn.Linear(2, 2), nn.SiLU(), nn.LayerNorm(2), nn.Flatten())
    assert not draws_by_itself(quiet)
    assert not draws_by_itself(Autoencoder(2, **SHORT).fit(np.eye(9)).module_)
    with drawing_from(torch.Generator()):
        noisy = (nn.Dropout(), nn.RReLU(), nn.LSTM(2, 2), nn.MultiheadAttention(2, 1), Own())
    for layer in noisy:
        assert draws_by_itself(nn.Sequential(quiet, layer))


class Own(nn.Module):
    pass


def test_a_batch_moves_with_its_draws():
    x = torch.zeros(3, 2)
    random = Random(0, x)
    batch = Batch(x, None, torch.ones(3), torch.ones(()), random=random).to("meta")
    assert batch.x.device.type == batch.weight.device.type == "meta"
    assert batch.observed is None
    assert batch.random is random
