import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import skae
from skae import MLP, Autoencoder, FunctionArchitecture
from skae.training import seeded
from skae.training._module import _check_layer_sizes

SHORT = {"max_iter": 3, "early_stopping": False, "random_state": 0}


def small(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 7), nn.Tanh(), nn.Linear(7, n_out))


class Custom(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)

    def forward(self, x):
        return torch.tanh(self.layer(x))


HERE = f"{__name__}:small"


@pytest.mark.parametrize("factory", [small, HERE])
def test_networks_are_what_the_functions_return(sheet, factory, tmp_path):
    model = Autoencoder(
        2, architecture=FunctionArchitecture(encoder=factory, decoder=factory), **SHORT
    )
    codes = model.fit_transform(sheet)
    same = Autoencoder(2, hidden_layer_sizes=(7,), activation="tanh", **SHORT).fit(sheet)
    assert np.array_equal(codes, same.transform(sheet))
    assert np.array_equal(pickle.loads(pickle.dumps(model)).transform(sheet), codes)
    if factory == HERE:
        skae.save(model, tmp_path / "model")
        loaded = skae.load(tmp_path / "model", trusted=[HERE])
        assert np.array_equal(loaded.transform(sheet), codes)


@pytest.mark.parametrize("fitted", [True, False])
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_file_has_no_function_called_that_is_not_trusted(sheet, tmp_path, fitted, role):
    model = Autoencoder(2, architecture=FunctionArchitecture(**{role: HERE}), **SHORT)
    skae.save(model.fit(sheet) if fitted else model, tmp_path / "model")
    for trusted in ((), HERE, ["torch.nn:Bilinear"]):
        with pytest.raises(ValueError, match=rf"names the function '{HERE}', which .* trusted=\["):
            skae.load(tmp_path / "model", trusted=trusted)
    linear = Autoencoder(2, architecture=FunctionArchitecture(), **SHORT).fit(sheet)
    skae.save(linear, tmp_path / "model")
    again = skae.load(tmp_path / "model")
    assert np.array_equal(again.transform(sheet), linear.transform(sheet))


def test_any_module_will_do_from_random_weights(sheet):
    custom = FunctionArchitecture(encoder=Custom, decoder="torch.nn:Linear")
    with pytest.raises(ValueError, match=r"build two nn\.Sequential .* use init='random'"):
        Autoencoder(2, architecture=custom, **SHORT).fit(sheet)
    model = Autoencoder(2, architecture=custom, init="random", linear_shortcut=False, **SHORT)
    assert np.abs(model.fit_transform(sheet)).max() < 1


@pytest.mark.parametrize(
    ("factory", "error", "match"),
    [
        ("no.such:thing", ValueError, "'no.such:thing', cannot be imported .*package.module:func"),
        ("torch.nn:NoLayer", ValueError, "cannot be imported"),
        (lambda n_in, n_out: 3, TypeError, "must return a torch.nn.Module, but returned a int"),
        (3, ValueError, "'encoder' parameter of FunctionArchitecture must be"),
    ],
)
def test_what_is_no_factory_is_refused(sheet, factory, error, match):
    with pytest.raises(error, match=match):
        Autoencoder(2, architecture=FunctionArchitecture(encoder=factory), **SHORT).fit(sheet)


def to_one(n_in, n_out):
    return nn.Linear(n_in, 1)


def from_nine(n_in, n_out):
    return nn.Sequential(nn.Linear(9, n_out))


class Pair(Custom):
    def forward(self, x):
        return self.layer(x), x


@pytest.mark.parametrize("init", ["auto", "random"])
@pytest.mark.parametrize("role", ["encoder", "decoder"])
@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (to_one, r"maps two rows to \(2, 1\)"),
        (from_nine, r"fails on two rows \(mat1 and mat2"),
        (Pair, "maps two rows to tuple"),
    ],
)
def test_networks_of_other_widths_are_refused(sheet, init, role, factory, reason):
    n_in, n_out = (6, 2) if role == "encoder" else (2, 6)
    model = Autoencoder(2, architecture=FunctionArchitecture(**{role: factory}), init=init, **SHORT)
    match = f"The {role} .* of size {n_in} to .* of size {n_out}, but it {reason}.*use the sizes"
    with pytest.raises(ValueError, match=match) as caught:
        model.fit(sheet)
    assert "\n" not in str(caught.value)


def normalised(n_in, n_out):
    return nn.Sequential(
        nn.Linear(n_in, 7), nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Tanh(), nn.Linear(7, n_out)
    )


def test_networks_that_differ_in_training_are_looked_at_in_evaluation(sheet):
    model = Autoencoder(
        2, architecture=FunctionArchitecture(encoder=normalised, decoder=normalised), **SHORT
    )
    codes = model.fit_transform(sheet)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).transform(sheet), codes)
    with seeded(0):
        network = normalised(6, 2)
    network[2].eval()
    _check_layer_sizes("encoder", network, 6, 2)
    assert [layer.training for layer in network] == [True, True, False, True, True]
    assert network[1].num_batches_tracked == 0


@pytest.mark.full
def test_tied_weights_are_one(sheet):
    model = Autoencoder(2, architecture=MLP((5, 4), tied=True), **SHORT).fit(sheet)
    module = pickle.loads(pickle.dumps(model)).module_
    assert len([name for name in module.state_dict() if "decoder." in name]) == 3
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        module.decoder[2](x), x @ module.encoder[2].weight + module.decoder[2].bias
    )
    assert np.array_equal(
        pickle.loads(pickle.dumps(model)).reconstruct(sheet), model.reconstruct(sheet)
    )
    longer = Autoencoder(2, architecture=MLP((5, 4), tied=True), max_iter=100, random_state=0)
    assert longer.fit(sheet).score(sheet) > 0.5 * model.score(sheet)


def test_tied_weights_start_at_pca_where_the_activation_is_0_at_0(sheet):
    still = {"learning_rate": 1e-12, "max_iter": 1, "early_stopping": False}
    start = Autoencoder(2, architecture=MLP((5,), tied=True), **still).fit(sheet)
    pca = skae.LinearAutoencoder(2).fit(sheet)
    assert start.score(sheet) == pytest.approx(pca.score(sheet), rel=1e-4)
    logistic = MLP((5,), tied=True, activation="logistic")
    with pytest.raises(ValueError, match="tied weights need an activation that is 0 at 0"):
        Autoencoder(2, architecture=logistic, **still).fit(sheet)
    Autoencoder(2, architecture=logistic, init="random", **still).fit(sheet)
    with pytest.raises(ValueError, match="they map 6 to 4 and 2 to 6; set tied=False"):
        Twice(2, architecture=MLP((5,), tied=True), **still).fit(sheet)


class Twice(Autoencoder):
    """A variant whose encoder returns twice the code."""

    def _layer_sizes(self, n_features):
        return super()._layer_sizes(n_features) | {"n_code": 2 * self.n_components_}


class Waves(nn.Module):
    """Holds tensors that are no part of its state, and reads a number when it is built."""

    def __init__(self, n_in, n_out, reads):
        super().__init__()
        self.register_buffer("kept", torch.linspace(1, 2, n_in), persistent=False)
        self.plain = torch.linspace(0, 1, n_out)
        self.linear = nn.Linear(n_in, n_out)
        self.power = float(self.plain.sum()) if reads else 1.0

    def forward(self, x):
        return self.linear(x * self.kept) + self.plain


@pytest.mark.parametrize("reads", [False, True])
def test_networks_with_tensors_of_their_own_come_back_whole(sheet, reads):
    waves = partial(Waves, reads=reads)
    model = Autoencoder(
        2, architecture=FunctionArchitecture(encoder=waves, decoder=waves), init="random", **SHORT
    ).fit(sheet)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(again.reconstruct(sheet), model.reconstruct(sheet))
        assert not any(t.is_meta for t in again.module_.buffers())
