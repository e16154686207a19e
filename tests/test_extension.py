"""A variant, an architecture and a loss in a module outside of the package."""

import inspect
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import skae
from skae import extension
from skae.extension import Autoencoder, Hooks, check_autoencoder

ROOT = Path(__file__).parent.parent
OUTSIDE = """
import torch
from torch import nn
from skae.extension import (
    NON_NEGATIVE, POSITIVE_INT, Architecture, Autoencoder, Loss, hyperparameters, param,
    register_loss,
)


@hyperparameters
class SmallCode(Autoencoder):
    alpha: float = param(NON_NEGATIVE, default=1e-3, doc="Weight of the penalty.")

    def _penalty(self, module, batch, h, output):
        return self.alpha * h.square().sum(1)


@hyperparameters
class Normed(Architecture):
    n_units: int = param(POSITIVE_INT, default=8, doc="Number of units.")

    def build(self, n_inputs, n_code, n_components, n_outputs):
        first, last = nn.Linear(n_inputs, self.n_units), nn.Linear(self.n_units, n_code)
        encoder = nn.Sequential(first, nn.LayerNorm(self.n_units), nn.SiLU(), last)
        return encoder, nn.Sequential(nn.Linear(n_components, n_outputs))


@register_loss
class PseudoHuber(Loss):
    name, power, pca = "pseudo_huber", 1, True

    def cell(self, output, x):
        return torch.sqrt(1 + (output - x).square()) - 1
"""
SHORT = {"max_iter": 3, "early_stopping": False, "random_state": 0}


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """Write the module where it can be imported, import it, and forget it afterwards."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "outside_of_skae.py").write_text(OUTSIDE)
    sys.path.insert(0, str(folder))
    import outside_of_skae

    yield outside_of_skae
    sys.path.remove(str(folder))
    del sys.modules["outside_of_skae"]


def models(outside):
    return {
        "variant": outside.SmallCode(3, alpha=0.1, **SHORT),
        "architecture": Autoencoder(3, architecture=outside.Normed(), **SHORT),
        "loss": Autoencoder(3, loss="pseudo_huber", **SHORT),
        "all": outside.SmallCode(
            3, loss="pseudo_huber", architecture=outside.Normed(n_units=5), **SHORT
        ),
    }


@pytest.mark.parametrize("name", ["variant", "architecture", "loss", "all"])
def test_it_keeps_the_promises(outside, name):
    check_autoencoder(models(outside)[name])


LOAD = """
import sys
import numpy as np
import skae

folder, trusted = sys.argv[1], sys.argv[2:]
try:
    skae.load(folder + "/model")
except ValueError as error:
    print(error)
assert "outside_of_skae" not in sys.modules
model = skae.load(folder + "/model", trusted=trusted)
np.save(folder + "/codes.npy", model.transform(np.load(folder + "/X.npy")))
"""


@pytest.mark.full
def test_it_is_loaded_in_another_process_if_it_is_trusted(outside, sheet, tmp_path):
    """The module is not imported there before."""
    model = models(outside)["all"].fit(sheet)
    skae.save(model, tmp_path / "model")
    np.save(tmp_path / "X.npy", sheet)
    names = [f"outside_of_skae:{name}" for name in ("SmallCode", "Normed")]
    paths = os.pathsep.join([str(ROOT), str(Path(outside.__file__).parent)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOAD, str(tmp_path), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    assert f"it names the class '{names[0]}', which would be imported" in done.stdout
    assert np.array_equal(np.load(tmp_path / "codes.npy"), model.transform(sheet))


def test_what_is_imported_already_needs_no_trust(outside, sheet, tmp_path):
    for model in models(outside).values():
        fitted = model.fit(sheet)
        skae.save(fitted, tmp_path / "model")
        again = skae.load(tmp_path / "model")
        assert type(again) is type(fitted)
        for other in (again, pickle.loads(pickle.dumps(fitted))):
            assert np.array_equal(other.transform(sheet), fitted.transform(sheet))


def test_a_loss_is_chosen_by_its_name_and_found_by_grids(outside, sheet):
    model = models(outside)["loss"].fit(sheet)
    assert -model.score(sheet) > 0
    with pytest.raises(ValueError, match="'loss' parameter of Autoencoder must be a str among"):
        Autoencoder(loss="nonsense").fit(sheet)
    assert "pseudo_huber" in str(Autoencoder._parameter_constraints["loss"][0])


# ------------------------------------------------------------------- checks find what is broken


class ReadsValues(Autoencoder):
    def _penalty(self, module, batch, h, output):
        return h.abs().sum(1) * float(h.detach().sum() > 0)


class ReducesSamples(Autoencoder):
    def _penalty(self, module, batch, h, output):
        return h.abs().sum()


class DrawsGlobally(Autoencoder):
    def _corrupt(self, module, batch):
        return batch._replace(x=batch.x + torch.randn_like(batch.x))


class LooksAtOthers(Autoencoder):
    def _encode(self, module, batch):
        z = super()._encode(module, batch)
        return z - z.mean(0)


class ForgetsItsTensor(Autoencoder):
    def _after_fit(self, module, rows):
        module.gain = torch.tensor(np.random.default_rng().uniform())

    def _code(self, module, h):
        return h * getattr(module, "gain", 1.0)


class ReturnsATensor(Autoencoder):
    def _objective(self, module, batch):
        return super()._objective(module, batch)["reconstruction"]


@extension.hyperparameters
class KeepsItsPenalty(Autoencoder):
    alpha: float = extension.param(extension.NON_NEGATIVE, default=1.0, doc="Ignored.")

    def _penalty(self, module, batch, h, output):
        return h.abs().sum(1)


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (ReadsValues, "check_meta_device"),
        (ReducesSamples, "check_fit|check_objective"),
        (DrawsGlobally, "check_determinism|check_sample_weight"),
        (LooksAtOthers, "check_samples_are_independent"),
        (ForgetsItsTensor, "check_sample_weight|check_determinism|check_files"),
        (KeepsItsPenalty, "check_alpha_zero"),
        (ReturnsATensor, "check_fit: _objective must return a dict"),
    ],
)
def test_broken_promises_are_found(cls, check):
    # One of them draws from torch's generator.
    with torch.random.fork_rng(), pytest.raises(AssertionError, match=f"fails ({check})"):
        check_autoencoder(cls(3))


def test_only_autoencoders_are_checked():
    with pytest.raises(TypeError, match="got a PCA"):
        check_autoencoder(PCA())


# ------------------------------------------------------------------------- the contract in words


def test_every_hook_is_documented():
    page = (ROOT / "docs/extending.md").read_text()
    own = {name for name in vars(Hooks) if re.fullmatch(r"_[a-z][a-z_]*", name)}
    composed = {"_encode", "_decode", "_reconstruct", "_encoded", "_own_parameters"}
    composed |= {"_own_parameter_names", "_doc_link_template", "_doc_link_module", "_doc_parts"}
    composed |= {"_parameter_constraints", "_conditioning"}
    for name in own - composed:
        assert f"`{name}" in page, name
    for name in own:
        hook = getattr(Hooks, name)
        assert not inspect.isfunction(hook) or name in composed or hook.__doc__


def test_what_the_page_imports_is_exported():
    page = (ROOT / "docs/extending.md").read_text()
    for block in re.findall(r"from skae\.extension import ([^\n(]+)", page):
        assert {name.strip() for name in block.split(",")} <= set(extension.__all__)
