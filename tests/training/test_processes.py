"""Fits in several processes, as threads here: each with all samples, or each with a part."""

import os
import socket
import subprocess
import sys
import threading
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping, LRScheduler, ParamMapper
from skorch.utils import freeze_parameter, unfreeze_parameter
from torch import nn

import skae
from skae.batched import outcomes_together
from skae.exceptions import ProcessError
from skae.training import _processes, connected
from tests.ranks import fit_divided, fit_together, groups, in_ranks, returned  # noqa: F401
from tests.test_variants import SHORT, TINY

pytestmark = pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
LONG = {"max_iter": 6, "random_state": 0}
MODELS = {
    "deep": skae.Autoencoder(2, hidden_layer_sizes=(8,), **LONG),
    "random": skae.Autoencoder(2, init="random", **SHORT),
    "pretrained": skae.Autoencoder(
        2, architecture=skae.MLP((6, 4), pretraining_epochs=2), init="random", **SHORT
    ),
    "linear": skae.LinearAutoencoder(2, max_iter=10, random_state=0),
    "trained linear": skae.LinearAutoencoder(2, init="random", max_iter=3, random_state=0),
    "l1": skae.SparseAutoencoder(8, **LONG),
    "kl": skae.SparseAutoencoder(8, penalty="kl", **LONG),
    "k": skae.KSparseAutoencoder(8, n_nonzero_coefs=2, **LONG),
    "k of a batch": skae.KSparseAutoencoder(8, n_nonzero_coefs=2, selection="batch", **LONG),
    "positive": skae.KSparseAutoencoder(
        8, n_nonzero_coefs=2, selection="batch", positive_code=True, **LONG
    ),
    "contractive": skae.ContractiveAutoencoder(3, **LONG),
    "quantized": skae.QuantizedAutoencoder(3, **LONG),
    "denoising": skae.DenoisingAutoencoder(2, **LONG),
    "salt": skae.DenoisingAutoencoder(2, noise="salt_and_pepper", **LONG),
    "range": skae.DenoisingAutoencoder(noise_level=(0.1, 0.5), **LONG),
    "variational": skae.VariationalAutoencoder(2, free_bits=0.1, init="random", **LONG),
    "importance": skae.VariationalAutoencoder(2, objective="iwae", n_draws=3, **SHORT),
    "masked": skae.MaskedAutoencoder(2, architecture=skae.FTTransformer(**TINY), **SHORT),
}
NEIGHBORS = {"neighbors": skae.QuantizedAutoencoder(3, n_neighbors=3, mask_ratio=0.2, **LONG)}


@pytest.fixture(autouse=True)
def double():
    """Train in float64, so that Adam does not amplify rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def table(rng):
    """Return samples on a curved surface, with missing values, and weights."""
    t = rng.normal(size=(150, 2))
    X = np.c_[t, t[:, :1] ** 2, np.sin(2 * t), t[:, :1] * t[:, 1:]]
    X += 0.1 * rng.normal(size=X.shape)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, rng.uniform(0.2, 2, len(X))


def outputs(model, X):
    """Return everything that a fit results in, as numbers."""
    curves = [np.asarray(model.loss_curve_), np.asarray(model.validation_loss_curve_ or [])]
    weights = [value.numpy() for value in model.module_.state_dict().values()]
    return [model.transform(X), model.reconstruct(X), *curves, *weights]


def assert_same(one, other, X, tolerance):
    for a, b in zip(outputs(one, X), outputs(other, X), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def cases(models, weighted, quick):
    """Return pairs of a model and whether there are weights; all but the quick ones are slow."""
    return [
        pytest.param(
            name,
            w,
            marks=[pytest.mark.full] * (name not in quick or w is not weighted)
            + [pytest.mark.threads] * (name in NEIGHBORS),
        )
        for name in models
        for w in (False, True)
    ]


@pytest.mark.parametrize(
    ("name", "weighted"),
    cases(
        MODELS | NEIGHBORS,
        False,
        quick=("deep", "linear", "kl", "k of a batch", "range", "variational", "neighbors"),
    ),
)
def test_ranks_with_all_samples_give_the_fit_of_one_process(groups, table, name, weighted):  # noqa: F811
    X, weight = table
    model, weight = (MODELS | NEIGHBORS)[name], weight if weighted else None
    alone = clone(model).fit(X, sample_weight=weight)
    first, second = returned(
        fit_together(groups, lambda _: clone(model).fit(X, sample_weight=weight))
    )
    assert_same(first, second, X, 0)
    assert_same(first, alone, X, 1e-5)
    assert alone.n_iter_ == first.n_iter_
    assert alone.best_epoch_ == first.best_epoch_


@pytest.mark.parametrize(
    ("name", "weighted"),
    cases(MODELS, True, quick=("pretrained", "linear", "kl", "positive", "quantized", "masked")),
)
def test_ranks_with_a_part_each_give_the_fit_of_the_whole(table, name, weighted):
    X, weight = table
    model, weight = MODELS[name], weight if weighted else np.ones(len(X))
    parts = [slice(50), slice(50, None)]  # a third and two thirds
    alone = clone(model).fit(X, sample_weight=weight)
    first, second = returned(
        fit_divided(lambda r: clone(model).fit(X[parts[r]], sample_weight=weight[parts[r]]))
    )
    assert_same(first, second, X, 0)
    assert_same(first, alone, X, 1e-4)


def test_more_ranks_than_samples_of_a_batch(groups, table):  # noqa: F811
    X, _ = table
    model = skae.Autoencoder(2, batch_size=2, max_iter=2, random_state=0)
    first, *others = returned(fit_together(groups, lambda _: clone(model).fit(X), size=3))
    assert_same(first, clone(model).fit(X), X, 1e-5)
    assert all(other.loss_curve_ == first.loss_curve_ for other in others)


def test_swapped_cells_are_of_the_whole_batch(groups, table):  # noqa: F811
    X, _ = table
    model = skae.DenoisingAutoencoder(
        2, noise="swap", batch_size=50, max_iter=60, early_stopping=False, random_state=0
    )
    first, second = returned(fit_together(groups, lambda _: clone(model).fit(X)))
    assert first.loss_curve_ == second.loss_curve_
    np.testing.assert_allclose(
        np.mean(first.loss_curve_[30:]), np.mean(clone(model).fit(X).loss_curve_[30:]), rtol=0.1
    )


def test_layers_that_draw_by_themselves_draw_in_each_rank(groups, table):  # noqa: F811
    X, _ = table

    def network(n_in, n_out):
        return nn.Sequential(nn.Linear(n_in, 8), nn.Dropout(0.5), nn.Linear(8, n_out))

    architecture = skae.FunctionArchitecture(encoder=network, decoder=network)
    model = skae.Autoencoder(2, architecture=architecture, init="random", **SHORT)
    first, second = returned(fit_together(groups, lambda _: clone(model).fit(np.nan_to_num(X))))
    assert_same(first, second, np.nan_to_num(X), 0)


def test_statistics_of_layers_are_those_of_rank_0(groups, table):  # noqa: F811
    X = np.nan_to_num(table[0])

    def network(n_in, n_out):
        return nn.Sequential(nn.Linear(n_in, 8), nn.BatchNorm1d(8), nn.Linear(8, n_out))

    architecture = skae.FunctionArchitecture(encoder=network, decoder=network)
    model = skae.Autoencoder(2, architecture=architecture, init="random", **SHORT)
    first, second = returned(fit_together(groups, lambda _: clone(model).fit(X)))
    assert_same(first, second, X, 0)


class Transposed(nn.Module):
    """A linear layer whose weight is not contiguous, on which fused optimisers rely."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter((torch.randn(n_in, n_out) / n_in).T)

    def forward(self, x):
        return x @ self.weight.T


def test_gradients_have_the_strides_of_their_weights(groups, table):  # noqa: F811
    X = np.nan_to_num(table[0])
    architecture = skae.FunctionArchitecture(encoder=Transposed, decoder=Transposed)
    model = skae.Autoencoder(2, architecture=architecture, init="random", **LONG)
    first, second = returned(fit_together(groups, lambda _: clone(model).fit(X)))
    assert_same(first, second, X, 0)
    assert_same(first, clone(model).fit(X), X, 1e-5)


def test_random_state_none_is_that_of_rank_0(groups, table):  # noqa: F811
    model = skae.Autoencoder(2, max_iter=2)
    first, second = returned(fit_together(groups, lambda _: clone(model).fit(table[0])))
    assert_same(first, second, table[0], 0)


def test_fit_again_and_several_starts(groups, table):  # noqa: F811
    X, _ = table
    model = skae.Autoencoder(2, n_init=2, warm_start=True, max_iter=3, random_state=0)
    first, second = returned(fit_together(groups, lambda _: clone(model).fit(X).fit(X)))
    assert_same(first, second, X, 0)
    assert_same(first, clone(model).fit(X).fit(X), X, 1e-5)


# ------------------------------------------------------------------- what rank 0 alone does


class Counting(Callback):
    def __init__(self):
        self.calls = []

    def on_epoch_end(self, net, **_):
        self.calls.append(net.group.rank)


def test_rank_0_alone_calls_callbacks_and_prints(groups, table, capsys):  # noqa: F811
    counting = Counting()
    model = skae.Autoencoder(
        2, max_iter=3, verbose=1, net_params={"callbacks": [counting]}, early_stopping=False
    )
    returned(fit_together(groups, lambda _: model.__class__(**model.get_params()).fit(table[0])))
    assert counting.calls == [0, 0, 0]
    assert capsys.readouterr().out.count("train_loss") == 1


def test_schedulers_act_in_each_rank(groups, table):  # noqa: F811
    X, _ = table
    halving = ("lr", LRScheduler("StepLR", step_size=1, gamma=0.5))
    model = skae.Autoencoder(
        2, schedule="constant", net_params={"callbacks": [halving]}, init="random", **SHORT
    )
    first, second = returned(fit_together(groups, lambda _: clone(model).fit(X)))
    assert_same(first, second, X, 0)
    assert_same(first, clone(model).fit(X), X, 1e-5)


@pytest.mark.parametrize(("frozen_at", "thawed_at"), [(3, 5), (1, 3)])
def test_weights_frozen_meanwhile_stay_as_they_are(groups, table, frozen_at, thawed_at):  # noqa: F811
    X = np.nan_to_num(table[0])
    freeze = [
        ("freeze", ParamMapper("encoder*", fn=freeze_parameter, at=frozen_at)),
        ("thaw", ParamMapper("encoder*", fn=unfreeze_parameter, at=thawed_at)),
    ]
    model = skae.Autoencoder(
        2, schedule="constant", init="random", net_params={"callbacks": freeze}, **LONG
    )
    first, second = returned(fit_together(groups, lambda _: clone(model).fit(X)))
    assert_same(first, second, X, 0)
    assert_same(first, clone(model).fit(X), X, 1e-5)


def test_rank_0_stops_all(groups, table):  # noqa: F811
    stop = EarlyStopping("train_loss", patience=1, threshold=10.0)
    model = skae.Autoencoder(2, max_iter=20, net_params={"callbacks": [stop]}, random_state=0)
    first, second = returned(fit_together(groups, lambda _: clone(model).fit(table[0])))
    assert first.n_iter_ == second.n_iter_ < 20


def test_rank_0_alone_writes_the_checkpoint_and_all_resume(groups, table, tmp_path, monkeypatch):  # noqa: F811
    from skae.training import _checkpoint

    X, _ = table
    monkeypatch.setattr(_checkpoint, "INTERVAL", 0.0)
    path = tmp_path / "c"
    model = skae.DenoisingAutoencoder(2, max_iter=6, early_stopping=False, random_state=0)
    whole = clone(model).fit(X)

    class Killed(Callback):
        def on_epoch_end(self, net, **_):
            if len(net.history) == 4:
                raise OSError("killed")

    killed = clone(model).set_params(checkpoint=path, net_params={"callbacks": [Killed()]})
    errors = fit_together(groups, lambda _: clone(killed).fit(X))
    assert isinstance(errors[0], OSError)
    assert isinstance(errors[1], ProcessError)
    resumed = clone(killed).set_params(net_params={"callbacks": []})
    first, second = returned(fit_together(groups, lambda _: clone(resumed).fit(X)))
    assert_same(first, second, X, 0)
    assert_same(first, whole, X, 1e-5)


def test_gathered_fits_are_trained_in_their_process(groups, table):  # noqa: F811
    def fit(group, k):
        groups[threading.get_ident()] = group
        return skae.Autoencoder(k, max_iter=1, random_state=0).fit(table[0])

    def search(_):
        group = groups[threading.get_ident()]
        return outcomes_together([partial(fit, group, k) for k in (1, 2)], n_jobs=2)

    first, second = returned(fit_together(groups, search))
    for one, other in zip(returned(first), returned(second), strict=True):
        assert_same(one, other, table[0], 0)


# ------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n_components": 3}, "the same n_components: that of rank 0 has 2, that of rank 1 has 3"),
        ({"learning_rate": 0.1}, "the same learning_rate"),
    ],
)
def test_other_parameters_are_refused_in_each_rank(groups, table, change, match):  # noqa: F811
    models = skae.Autoencoder(2, max_iter=1), skae.Autoencoder(**{"n_components": 2} | change)
    models[1].set_params(max_iter=1)
    errors = fit_together(groups, lambda rank: models[rank].fit(table[0]))
    for error, model in zip(errors, models, strict=True):
        assert isinstance(error, ValueError)
        assert match in str(error)
        assert not hasattr(model, "module_")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda X: X[:-1], "number of samples"),
        (lambda X: X[:, :-1], "number of features of X"),
        (lambda X: X.astype(np.float32), "dtype of X"),
        (lambda X: X[::-1], "samples"),
    ],
)
def test_other_samples_are_refused_in_each_rank(groups, table, change, match):  # noqa: F811
    X = table[0]
    samples = X, change(X)
    model = skae.Autoencoder(2, max_iter=1)
    errors = fit_together(groups, lambda rank: clone(model).fit(samples[rank]))
    assert all(isinstance(error, ValueError) and match in str(error) for error in errors)


def test_a_checkpoint_of_one_rank_is_refused_in_each(groups, table, tmp_path):  # noqa: F811
    model, paths = skae.Autoencoder(2, max_iter=1), (tmp_path / "c", None)
    errors = fit_together(
        groups, lambda rank: clone(model).set_params(checkpoint=paths[rank]).fit(table[0])
    )
    assert all("the same checkpoint (whether there is one)" in str(error) for error in errors)


def test_other_former_fits_are_refused_in_each_rank(groups, table):  # noqa: F811
    model = skae.Autoencoder(2, max_iter=1, warm_start=True, random_state=0)
    fitted = [clone(model).fit(table[0]), clone(model).fit(table[0][::-1]), clone(model)]
    errors = fit_together(groups, lambda rank: fitted[rank].fit(table[0]), size=3)
    assert all("former fit that continues" in str(error) for error in errors)


@pytest.mark.parametrize(
    "model", [skae.Autoencoder(2, max_iter=1), skae.AutoencoderOutlierDetector(max_iter=1)]
)
def test_parts_with_other_columns_are_refused_in_each_rank(table, model):
    X = table[0]
    samples = X[:70], X[70:, :-1]
    errors = fit_divided(lambda rank: clone(model).fit(samples[rank]))
    assert all(isinstance(e, ValueError) and "number of features" in str(e) for e in errors)


def test_an_error_of_one_rank_is_the_reason_in_the_others(table):
    X = table[0].copy()
    X[3, 1] = np.inf
    model = skae.Autoencoder(2, max_iter=1)
    first, second = fit_divided(lambda rank: clone(model).fit((X[:70], X[70:])[rank]))
    assert isinstance(first, ValueError)
    assert "infinity" in str(first)
    assert isinstance(second, ProcessError)
    assert str(second) == f"The process of rank 0 failed: {first}"


def test_a_rank_without_samples_is_refused(table):
    X = table[0].copy()
    X[:70] = np.nan
    model = skae.Autoencoder(2, max_iter=1)
    for error in fit_divided(lambda rank: clone(model).fit((X[:70], X[70:])[rank])):
        assert "A process holds no sample" in str(error)


def test_partial_fit_is_refused(groups, table):  # noqa: F811
    model = skae.Autoencoder(2)
    for error in fit_together(groups, lambda _: clone(model).partial_fit(table[0])):
        assert "partial_fit does not train in several processes" in str(error)


def test_draws_without_an_axis_of_samples_are_refused(groups, table):  # noqa: F811
    class Flat(skae.DenoisingAutoencoder):
        def _corrupt(self, module, batch):
            noise = batch.random.normal(batch.x.numel()).view_as(batch.x)
            return batch._replace(x=batch.x + noise)

    X = np.nan_to_num(table[0])
    for error in fit_together(groups, lambda _: Flat(2, max_iter=1).fit(X)):
        assert "shape (12,) for 2 samples and of shape (18,) for 3" in str(error)


def test_neighbors_need_all_samples_in_each_process(table):
    model = NEIGHBORS["neighbors"]
    parts = table[0][:70], table[0][70:]
    for error in fit_divided(lambda rank: clone(model).fit(parts[rank])):
        assert "n_neighbors needs all samples in each process" in str(error)


def test_a_rank_that_leaves_ends_the_others_and_leaves_them_as_they_were(groups, table):  # noqa: F811
    class Leaving(Callback):
        def on_epoch_end(self, net, **_):
            if len(net.history) == 2:
                net.group.leave(SystemExit())
                raise SystemExit

    leaving = skae.Autoencoder(2, max_iter=5, net_params={"callbacks": [Leaving()]})
    staying = clone(leaving)

    def fit(rank):
        try:
            (leaving, staying)[rank].fit(table[0])
        except SystemExit:
            return None

    _, error = fit_together(groups, fit)
    assert isinstance(error, ProcessError)
    assert "lost one of the 2 processes" in str(error)
    assert not hasattr(staying, "module_")


def test_a_rank_that_does_not_answer_ends_the_others_in_time():
    def only_first(rank, group):
        if rank == 0:
            group.sum(torch.ones(3))

    error, _ = in_ranks(only_first, timeout=1.0)
    assert isinstance(error, ProcessError)


# ---------------------------------------------------------------------------------- launchers

SCRIPT = """
import sys, warnings
import numpy as np, torch
import torch.distributed as dist
from skae import Autoencoder
warnings.simplefilter("ignore")
torch.set_num_threads(1)
X = np.random.default_rng(0).normal(size=(100, 5))
if sys.argv[2] == "initialised":
    dist.init_process_group("gloo")
models = [Autoencoder(2, max_iter=2, random_state=0).fit(X) for _ in range(2)]
assert models[0].loss_curve_ == models[1].loss_curve_
import os
np.save(f"{sys.argv[1]}/{os.environ['RANK']}.npy", models[0].transform(X))
assert dist.is_initialized() == (sys.argv[2] == "initialised")
alone = Autoencoder(2, max_iter=2, random_state=0, distributed=False)
if os.environ["RANK"] == "0":
    alone.fit(X)
"""


CAUGHT = """
import os, sys, time, warnings
import numpy as np
import torch.distributed as dist
from skae import Autoencoder
warnings.simplefilter("ignore")
if sys.argv[2] == "initialised":
    dist.init_process_group("gloo")
X = np.random.default_rng(0).normal(size=(100, 5))
if os.environ["RANK"] == "1":
    X[3, 2] = np.inf
start = time.monotonic()
try:
    Autoencoder(2, max_iter=2).fit(X)
except (RuntimeError, ValueError) as error:
    caught = f"{type(error).__name__}: {error}"
assert time.monotonic() - start < 30
if dist.is_initialized():
    dist.barrier()  # the group of the script still works
X[3, 2] = 0.0
Autoencoder(2, max_iter=2, random_state=0).fit(X)
with open(f"{sys.argv[1]}/{os.environ['RANK']}.txt", "w") as file:
    file.write(caught)
"""


def launched_by_environment(script):
    """Run a script in two processes that have a rank and an address in their environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, *script],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | common | {"RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


def launched_by_torchrun(script):
    """Run a script in two processes that torchrun starts."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    done = subprocess.run(
        [*command, *script],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("launch", "group"),
    [
        (launched_by_environment, "environment"),
        pytest.param(launched_by_torchrun, "environment", marks=pytest.mark.full),
        pytest.param(launched_by_torchrun, "initialised", marks=pytest.mark.full),
    ],
)
def test_processes_of_a_launcher_give_the_fit_of_one(tmp_path, launch, group):
    (tmp_path / "script.py").write_text(SCRIPT)
    launch([str(tmp_path / "script.py"), str(tmp_path), group])
    first, second = (np.load(tmp_path / f"{rank}.npy") for rank in range(2))
    X = np.random.default_rng(0).normal(size=(100, 5))
    np.testing.assert_array_equal(first, second)
    alone = skae.Autoencoder(2, max_iter=2, random_state=0).fit(X)  # which trains in float64
    np.testing.assert_allclose(first, alone.transform(X), rtol=1e-3, atol=1e-3)


@pytest.mark.full
@pytest.mark.parametrize(
    ("group", "reason"),
    [
        ("environment", "ProcessError: The process of rank 1 failed: Column 2 of X holds infinity"),
        ("initialised", "ProcessError: The process of rank 0 lost one of the 2 processes"),
    ],
)
def test_an_error_that_a_script_catches_ends_the_fit_of_the_others(tmp_path, group, reason):
    (tmp_path / "script.py").write_text(CAUGHT)
    launched_by_environment([str(tmp_path / "script.py"), str(tmp_path), group])
    first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in range(2))
    assert first.startswith(reason)
    assert second.startswith("ValueError: Column 2 of X holds infinity (row 3)")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"RANK": "1", "WORLD_SIZE": "3"}, (1, 3)),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "3", "SLURM_NTASKS": "8"}, (1, 3)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # in a batch script, without srun
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"RANK": "1", "WORLD_SIZE": "3", "MASTER_PORT": ""}, None),
        ({}, None),
    ],
)
def test_launchers_are_found_by_their_environment(monkeypatch, environment, expected):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"MASTER_ADDR": "h", "MASTER_PORT": "1"} | environment).items():
        monkeypatch.setenv(name, value)
    assert _processes._launched() == expected


def test_an_environment_without_a_launcher_is_one_process(monkeypatch, table):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    skae.Autoencoder(2, max_iter=1).fit(table[0])


@pytest.mark.parametrize(
    ("rank", "size", "match"), [("a", "2", "must be integers"), ("2", "2", "must be integers")]
)
def test_an_environment_that_makes_no_sense_is_refused(monkeypatch, table, rank, size, match):
    for name, value in zip(
        ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"), (rank, size, "h", "1"), strict=True
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=match):
        skae.Autoencoder(2, max_iter=1).fit(table[0])
    skae.Autoencoder(2, max_iter=1, distributed=False).fit(table[0])


def test_distributed_true_needs_other_processes(table):
    with pytest.raises(ValueError, match="this process is the only one"):
        skae.Autoencoder(2, max_iter=1, distributed=True).fit(table[0])


@pytest.fixture
def launched(monkeypatch):
    """Return a list of the connections of fits in this process, which a launcher has started."""
    found = []

    def connection(device):
        found.append(connected(torch.distributed.HashStore(), 0, 1, device))
        return found[-1]

    monkeypatch.setattr(_processes, "_launched", lambda: (0, 2))
    monkeypatch.setattr(_processes, "_connection", connection)
    return found


def test_a_fit_within_a_callback_is_of_one_process(launched, table):
    class Nested(Callback):
        def on_epoch_end(self, net, **_):
            skae.Autoencoder(1, max_iter=1).fit(table[0])

    skae.Autoencoder(2, max_iter=2, net_params={"callbacks": [Nested()]}).fit(table[0])
    assert len(launched) == 1
    assert not launched[0].engines


def test_two_threads_do_not_take_part_at_once(launched, table):
    def fit_elsewhere(found):
        try:
            skae.Autoencoder(1, max_iter=1).fit(table[0])
        except ValueError as error:
            found.append(str(error))

    class Threaded(Callback):
        found: ClassVar[list[str]] = []

        def on_train_begin(self, net, **_):
            thread = threading.Thread(target=fit_elsewhere, args=(self.found,))
            thread.start()
            thread.join()

    model = skae.Autoencoder(2, max_iter=1, net_params={"callbacks": [Threaded()]})
    model.fit(table[0]).fit(table[0])
    assert len(Threaded.found) == len(launched) == 2
    assert "call fit in one thread at a time" in Threaded.found[0]


def test_statistics_of_a_batch_in_one_process_are_plain_means():
    batch = skae.extension.Batch(
        torch.zeros(3, 2), None, torch.tensor([1.0, 2.0, 1.0]), torch.tensor(0.0)
    )
    values = torch.tensor([[1.0], [2.0], [5.0]])
    assert batch.mean(values).tolist() == [2.5]
    assert batch.any(values > 4).tolist() == [True]
    assert batch.n_samples == 3
