"""Fits on the workers of a dask cluster, and lazy results."""

import _thread
import importlib
import os
import re
import subprocess
import sys
import textwrap
import threading
from typing import ClassVar

import dask
import dask.array as da
import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

import skae
from skae.dask import fit, predict, reconstruct, score_samples, transform
from skae.exceptions import ProcessError

pytestmark = [
    pytest.mark.dask,
    pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SIZES = (600, 1197)


@pytest.fixture(scope="module")
def client():
    """Return the client of two workers, which are threads of this process."""
    options = {"threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.Client(n_workers=2, **options) as client:
        yield client


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    t = rng.normal(size=(sum(SIZES), 2))
    X = np.c_[t, t[:, :1] ** 2, np.sin(2 * t)] + 0.1 * rng.normal(size=(len(t), 5))
    X[rng.random(X.shape) < 0.02] = np.nan
    return X


@pytest.fixture(name="X")
def divided(client, table):
    """Return the table in two parts, each held by a worker."""
    workers = sorted(client.nthreads())
    parts = np.split(table, [SIZES[0]])
    held = [
        client.scatter(part, workers=[worker], hash=False)
        for part, worker in zip(parts, workers, strict=True)
    ]
    arrays = [
        da.from_delayed(part, shape=(n, 5), dtype=float)
        for part, n in zip(held, SIZES, strict=True)
    ]
    return da.concatenate(arrays)


def models():
    short = {"max_iter": 3, "random_state": 0}
    return [
        skae.Autoencoder(2, max_iter=5, random_state=0),
        skae.KSparseAutoencoder(8, n_nonzero_coefs=2, selection="batch", **short),
        *(
            pytest.param(model, marks=pytest.mark.full)
            for model in (
                skae.LinearAutoencoder(2, **short),
                skae.SparseAutoencoder(8, penalty="kl", **short),
                skae.VariationalAutoencoder(2, **short),
                skae.DenoisingAutoencoder(3, **short),
            )
        ),
    ]


@pytest.mark.parametrize("model", models(), ids=lambda m: type(m).__name__)
def test_workers_give_the_fit_of_the_concatenation(client, X, table, model):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        fitted = fit(model, X, client=client)
        alone = clone(model).fit(table)
    finally:
        torch.set_default_dtype(before)
    assert not hasattr(model, "module_")
    np.testing.assert_allclose(fitted.loss_curve_, alone.loss_curve_, rtol=1e-4)
    scale = np.abs(alone.transform(table)).max()
    difference = fitted.transform(table) - alone.transform(table)
    assert np.abs(difference).max() < 1e-4 * scale


def test_weights_and_columns_of_a_frame(client, table):
    weight = np.random.default_rng(1).uniform(0.5, 2, len(table))
    frame = pd.DataFrame(table, columns=list("abcde"))
    model = skae.LinearAutoencoder(2, max_iter=2, random_state=0)
    parts = dd.from_pandas(frame, npartitions=3)
    fitted = fit(model, parts, sample_weight=weight, client=client)
    alone = clone(model).fit(frame, sample_weight=weight)
    assert list(fitted.feature_names_in_) == list("abcde")
    np.testing.assert_allclose(fitted.mean_, alone.mean_, rtol=1e-9, atol=1e-12)
    codes = transform(fitted, parts)
    assert isinstance(codes, da.Array)
    np.testing.assert_allclose(codes.compute(), fitted.transform(frame), rtol=1e-6)


def test_weights_of_an_array(client, X, table):
    weight = np.random.default_rng(1).uniform(0.5, 2, len(table))
    model = skae.LinearAutoencoder(2, max_iter=2, random_state=0)
    lazy = da.from_array(weight, chunks=500)
    fitted = fit(model, X, sample_weight=lazy, client=client)
    np.testing.assert_allclose(fitted.mean_, clone(model).fit(table, None, weight).mean_)


def test_detector(client, X, table):
    detector = skae.AutoencoderOutlierDetector(max_iter=3, random_state=0)
    fitted, alone = fit(detector, X, client=client), clone(detector).fit(table)
    np.testing.assert_array_equal(fitted.support_, alone.support_)
    np.testing.assert_allclose(fitted.offset_, alone.offset_, rtol=1e-3)
    labels = predict(fitted, X)
    assert labels.dtype == fitted.predict(table).dtype
    np.testing.assert_array_equal(labels.compute(), fitted.predict(table))


def test_samples_are_reported_in_the_order_of_the_collection(client):
    X = np.random.default_rng(0).normal(size=(800, 5))
    outliers = np.arange(3, 800, 90)
    X[outliers] += 30
    divided = da.from_array(X, chunks=(100, 5))  # workers hold parts in turns
    fitted = fit(skae.AutoencoderOutlierDetector(max_iter=1, random_state=0), divided)
    assert not fitted.support_[outliers].any()
    assert fitted.support_.mean() > 0.9


def sized(X, sizes, client):
    """Return rows in parts of some sizes, which may be zero, on the workers in turn."""
    parts = np.split(X, np.cumsum(sizes)[:-1])
    workers = sorted(client.nthreads())
    held = [
        client.scatter(part, workers=[workers[i % 2]], hash=False) for i, part in enumerate(parts)
    ]
    arrays = [da.from_delayed(part, shape=(np.nan, 5), dtype=float) for part in held]
    return da.concatenate(arrays, allow_unknown_chunksizes=True)


@pytest.mark.parametrize("sizes", [(199, 1), (1, 0, 0, 199), (0, 200)])
def test_parts_of_one_row_or_none(client, table, sizes):
    rows, weight = np.nan_to_num(table[:200]), np.linspace(1, 2, 200)
    X = sized(rows, sizes, client)
    fitted = fit(skae.LinearAutoencoder(2), X, sample_weight=weight, client=client)
    alone = skae.LinearAutoencoder(2).fit(rows, sample_weight=weight)
    assert fitted.n_samples_ == 200
    np.testing.assert_allclose(fitted.components_, alone.components_, atol=1e-6)
    codes = transform(fitted, X).compute()
    np.testing.assert_allclose(codes, fitted.transform(rows))


def test_weights_of_parts_of_unknown_sizes(client, table):
    X = da.from_array(table, chunks=(600, 5))
    X, weight = X[~(X[:, 0] > 1e9)], da.ones(len(table), chunks=600)
    fitted = fit(skae.LinearAutoencoder(2, max_iter=1), X, sample_weight=weight, client=client)
    assert fitted.n_samples_ == len(table)


def test_fit_within_a_task(client):
    def task():
        X = da.random.default_rng(0).normal(size=(100, 5), chunks=(25, 5))
        return fit(skae.Autoencoder(2, max_iter=1), X, timeout=20).n_iter_

    assert client.submit(task, pure=False).result(timeout=60) == 1


class Scores:
    """A callback that scores the estimator after each epoch, in the process of rank 0."""

    found: ClassVar[list[float]] = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator, X):
        if context.task_name == "epoch":
            self.found.append(fitted_estimator.score(X))


def test_callbacks_of_divided_rows(client, X):
    model = skae.LinearAutoencoder(2, init="random", max_iter=3).set_callbacks(Scores())
    fit(model, X, timeout=10, client=client)
    assert len(Scores.found) == 3
    assert np.isfinite(Scores.found).all()


def test_an_interrupted_fit_ends_on_its_workers(client, X):
    model = skae.Autoencoder(2, max_iter=1000000, early_stopping=False)
    threading.Timer(2.0, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, client=client)
    for worker in client.nthreads():
        assert client.submit(int, workers=[worker], pure=False).result(timeout=20) == 0


def test_sparse_rows_on_one_worker(client, table):
    rows = np.nan_to_num(table) * (np.abs(table) > 0.5)
    held = client.scatter(sparse.csr_matrix(rows), workers=[min(client.nthreads())], hash=False)
    X = da.from_delayed(held, shape=rows.shape, dtype=float, meta=sparse.csr_matrix((0, 0)))
    model = skae.LinearAutoencoder(2)
    fitted = fit(model, X, client=client)
    np.testing.assert_allclose(fitted.components_, clone(model).fit(rows).components_, atol=1e-8)


def test_results_are_lazy_and_those_of_the_estimator(table):
    model = skae.Autoencoder(2, max_iter=2, random_state=0).fit(table.astype(np.float32))
    single = da.from_array(table.astype(np.float32), chunks=(SIZES, (2, 3)))
    for function, name in (
        (transform, "transform"),
        (reconstruct, "reconstruct"),
        (score_samples, "score_samples"),
    ):
        lazy = function(model, single)
        expected = getattr(model, name)(table.astype(np.float32))
        assert lazy.shape == expected.shape
        assert lazy.dtype == expected.dtype
        np.testing.assert_array_equal(lazy.compute(scheduler="threads"), expected)


def test_warnings_reach_the_client(client, X):
    model = skae.Autoencoder(9, max_iter=1, random_state=0)
    with pytest.warns(skae.AutoencoderWarning, match="the identity is a solution"):
        fit(model, X, client=client)


def test_two_fits_at_once(client, X, table):
    model = skae.Autoencoder(2, max_iter=3, random_state=0)
    fitted = []
    threads = [
        threading.Thread(target=lambda: fitted.append(fit(model, X, client=client)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = fitted
    np.testing.assert_array_equal(first.transform(table), second.transform(table))


def test_an_interrupt_while_waiting_for_another_fit_leaves_the_workers_free(client, X, monkeypatch):
    acquired = []

    class Interrupted(distributed.Lock):
        def acquire(self, *args, **kwargs):
            if acquired:
                raise KeyboardInterrupt
            acquired.append(self)
            return super().acquire(*args, **kwargs)

    model = skae.Autoencoder(2, max_iter=1, random_state=0)
    with monkeypatch.context() as patch:
        patch.setattr("skae.dask._fit.Lock", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(model, X, client=client)
    assert [lock.get_value() for lock in acquired] == [0]
    fit(model, X, client=client)


def test_a_fit_waits_for_another_one_no_longer_than_its_limit(client, X):
    model = skae.Autoencoder(2, max_iter=1, random_state=0)
    held = distributed.Lock(f"skae-{max(client.nthreads())}")
    held.acquire()
    with pytest.raises(ProcessError, match="Another fit was still running .* after 0.2 s"):
        fit(model, X, client=client, timeout=0.2)
    held.release()
    fit(model, X, client=client)


# -------------------------------------------------------------------------------- bad input


def test_bad_input(client, X, table):
    model = skae.Autoencoder(2, max_iter=1)
    with pytest.raises(TypeError, match="skae.dask fits autoencoders and .*; got a PCA"):
        fit(PCA(), X, client=client)
    for other, name in ((table, "ndarray"), (dask.delayed(table), "Delayed")):
        with pytest.raises(TypeError, match=f"X must be a dask array or DataFrame; got a {name}"):
            fit(model, other, client=client)
    with pytest.raises(ValueError, match="X must have two dimensions; got 1"):
        fit(model, X[:, 0], client=client)
    with pytest.raises(ValueError, match="sample_weight has 3 entries, while X has 1797"):
        fit(model, X, sample_weight=np.ones(3), client=client)
    with pytest.raises(ValueError, match="sample_weight has 3 entries, while X has 1797"):
        fit(model, X, sample_weight=da.ones(3), client=client)
    with pytest.raises(ValueError, match="skae.dask writes no checkpoints"):
        fit(skae.Autoencoder(2, checkpoint="c"), X, client=client)
    fitted = clone(model).fit(table)
    with pytest.raises(TypeError, match="Autoencoder has no predict"):
        predict(fitted, X)
    with pytest.raises(ValueError, match="X has 4 features, but Autoencoder is expecting 5"):
        transform(fitted, X[:, :4])


@pytest.mark.parametrize(
    ("lengths", "match"),
    [
        ([50, 70, 70, 50], r"got parts of \[50, 70, 70, 50\] entries, while X has parts of \[60"),
        ([60, 60, 60, 59], "sample_weight has 239 entries, while X has 240"),
    ],
)
def test_weights_in_parts_of_other_lengths_are_refused(client, table, lengths, match):
    X = dd.from_pandas(pd.DataFrame(table[:240]), npartitions=4).to_dask_array()
    parts = [client.scatter(np.ones(n), hash=False) for n in lengths]
    weight = da.concatenate([da.from_delayed(part, (np.nan,), float) for part in parts])
    with pytest.raises(ValueError, match=match):
        fit(skae.Autoencoder(2, max_iter=1), X, sample_weight=weight, client=client)


def test_one_worker_trains_alone_whatever_started_it(client, table, monkeypatch):
    for name, value in zip(
        ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"), ("0", "2", "127.0.0.1", "1"),
        strict=True,
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    X = da.from_array(table, chunks=table.shape)
    for distributed_ in ("auto", True):
        model = skae.LinearAutoencoder(2, distributed=distributed_)
        assert fit(model, X, client=client).n_components_ == 2


def test_an_error_of_a_worker_is_that_of_the_fit(client, table):
    infinite = table.copy()
    infinite[700, 2] = np.inf
    X = da.from_array(infinite, chunks=(SIZES, 5))
    with pytest.raises(ValueError, match="holds infinity"):
        fit(skae.Autoencoder(2, max_iter=1), X, client=client)
    short = da.from_array(np.full((20, 3), np.nan), chunks=(10, 3))
    with pytest.raises(ValueError, match="n_samples = 0"):
        fit(skae.Autoencoder(2, max_iter=1), short, client=client)


def test_text_and_calibration_need_one_process(client, X):
    detector = skae.AutoencoderOutlierDetector(calibration_fraction=0.1)
    with pytest.raises(ValueError, match="calibration_fraction=0"):
        fit(detector, X, client=client)


def test_an_asynchronous_client_is_refused(client, X, monkeypatch):
    monkeypatch.setattr(distributed.Client, "asynchronous", True)
    with pytest.raises(ValueError, match="pass one with asynchronous=False"):
        fit(skae.Autoencoder(2), X, client=client)


def test_a_client_is_needed(X, monkeypatch):
    def none():
        raise ValueError("No clients found")

    monkeypatch.setattr("skae.dask._fit.default_client", none)
    with pytest.raises(ValueError, match="needs a client of a dask cluster"):
        fit(skae.Autoencoder(2), X)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "skae.dask")
    with pytest.raises(ImportError, match=re.escape("pip install 'skae[dask]'")):
        importlib.import_module("skae.dask")


# --------------------------------------------------------------------------------- processes

KILLED = """
    import os, signal, threading, time
    import dask.array as da
    import numpy as np
    from distributed import Client
    from skae import Autoencoder
    from skae.dask import fit
    from skae.exceptions import ProcessError

    if __name__ == "__main__":
        options = {"threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": None}
        with Client(n_workers=2, processes=True, **options) as client:
            X = da.random.default_rng(0).normal(size=(20000, 20), chunks=(10000, 20)).persist()
            first = fit(Autoencoder(2, max_iter=1, random_state=0), X)
            assert first.n_iter_ == 1
            victim = sorted(client.run(os.getpid).values())[0]

            def kill():
                time.sleep(3)
                os.kill(victim, signal.SIGKILL)

            threading.Thread(target=kill).start()
            start = time.monotonic()
            model = Autoencoder(2, max_iter=100000, early_stopping=False)
            try:
                fit(model, X, timeout=20)
            except ProcessError as error:
                print("refused:", error)
            print("in time:", time.monotonic() - start < 40, not hasattr(model, "module_"))
"""


@pytest.mark.full
def test_a_worker_that_is_killed_ends_the_fit(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(KILLED))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert "refused: " in done.stdout, done.stderr
    assert "in time: True True" in done.stdout


def test_a_grid_over_the_backend_of_joblib(client, table):
    from joblib import parallel_backend

    search = GridSearchCV(
        skae.Autoencoder(max_iter=2, random_state=0), {"n_components": [1, 2]}, cv=2
    )
    with parallel_backend("dask", client=client):
        search.fit(table[:200])
    assert search.best_params_ == {"n_components": 2}
    alone = clone(search).fit(table[:200])
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-6
    )
