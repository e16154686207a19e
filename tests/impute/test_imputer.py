import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skae
from skae import (
    Autoencoder,
    AutoencoderImputer,
    AutoencoderWarning,
    ContractiveAutoencoder,
    DenoisingAutoencoder,
    KSparseAutoencoder,
    LinearAutoencoder,
    SparseAutoencoder,
    VariationalAutoencoder,
    make_missing,
)
from skae.data import Batch
from skae.impute import _learning, _nearest_rows
from skae.impute._masked_examples import (
    MAX_COPIES,
    MAX_EXAMPLE_CELLS,
    MaskedExamples,
    copies,
)
from skae.impute._network import ImputationNetwork, quantile_bins
from skae.impute._residuals import masked_tensors
from skae.tables import ColumnGroups
from skae.training import _trainer, total_of

LINEAR = LinearAutoencoder(1, max_iter=5)
DENOISER = DenoisingAutoencoder(noise="masking", max_iter=3, early_stopping=False)

pytestmark = pytest.mark.usefixtures("quick")
DROPPED = pytest.mark.filterwarnings("ignore:Columns without any observed:skae.AutoencoderWarning")


@pytest.fixture(scope="module")
def table():
    """Two columns are free, one is linear in them, one is a product."""
    z = np.random.default_rng(0).normal(size=(400, 2))
    return np.c_[z, z[:, 0] - z[:, 1], z[:, 0] * z[:, 1]] * [1, 10, 100, 1] + [0, 5, 0, 1]


@pytest.fixture(scope="module", name="X_missing")
def incomplete_table(table):
    return make_missing(table, fraction=0.2, random_state=0)


@pytest.fixture(scope="module")
def fitted(X_missing):
    return AutoencoderImputer(random_state=0).fit(X_missing)


def rmse(filled, table, X_missing):
    missing = np.isnan(X_missing)
    std = table.std(0)
    return np.sqrt((((filled - table) / std)[missing] ** 2).mean())


# ---------------------------------------------------------------------------------- mathematics


def test_linear_relations_and_products_are_imputed(table):
    X_missing = table.copy()
    X_missing[:300:2, 3] = X_missing[1:300:2, 2] = np.nan
    imputer = AutoencoderImputer(max_iter=100, random_state=0).fit(X_missing[:300])
    test = table[300:].copy()
    test[::2, 3] = test[1::2, 2] = np.nan
    for completion in (imputer._completion, imputer._completion.completion):
        imputer._completion = completion
        error = (imputer.transform(test) - table[300:]) / table.std(0)
        assert np.sqrt((error[1::2, 2] ** 2).mean()) < 0.3
        assert np.sqrt((error[::2, 3] ** 2).mean()) < 0.85


@pytest.mark.full
def test_small_tables_are_imputed_by_the_gaussian(rng):
    x = rng.normal(size=30)
    X = np.c_[x, 2 * x + 1]
    X[0, 1] = np.nan
    for seed in range(10):
        imputer = AutoencoderImputer(clip=False, random_state=seed).fit(X)
        assert imputer.estimator_ is None
        np.testing.assert_allclose(imputer.transform([[3, np.nan]]), [[3, 7]], rtol=1e-4)
    one = AutoencoderImputer().fit([[1.0], [np.nan], [4.0]])
    np.testing.assert_allclose(one.transform([[np.nan]]), [[2.5]])


def test_training_without_improvement_keeps_the_gaussian(rng):
    X = rng.multivariate_normal(np.zeros(4), np.eye(4) / 2 + 0.5, size=100)
    X_missing = make_missing(X, random_state=0)
    imputer = AutoencoderImputer(max_iter=5, random_state=0, clip=False).fit(X_missing)
    assert imputer.estimator_.best_epoch_ == 0
    by_network = imputer._completion.completion
    Z = (X_missing - imputer.mean_) / imputer.scale_
    expected = by_network.gaussian.fill(*masked_tensors(Z))
    np.testing.assert_allclose(by_network.complete(Z), expected, rtol=1e-6)
    assert rmse(imputer.transform(X_missing), X, X_missing) < rmse(
        SimpleImputer().fit_transform(X_missing), X, X_missing
    )


def masked_examples(rng, fill=np.nan_to_num):
    Z = np.where(rng.uniform(size=(500, 4)) < 0.2, np.nan, rng.normal(size=(500, 4)))
    weight, groups = rng.uniform(size=500), ColumnGroups(np.array([0, 1, 1, 3]))
    Z[:, 2] = np.where(np.isnan(Z[:, 1]), np.nan, 1)  # of one group with the column before
    state = np.random.RandomState(0)
    return Z, weight, MaskedExamples.of(Z, weight, groups, fill, 3, state)


def test_examples_hide_what_the_network_predicts(rng):
    Z, weight, examples = masked_examples(rng, lambda rows: np.where(np.isnan(rows), 9, rows))
    np.testing.assert_array_equal(examples.weight, np.tile(weight, 3))
    rows, seen = np.tile(Z, (3, 1)).astype(np.float32), examples.seen == 1
    hidden = ~np.isnan(examples.target)
    np.testing.assert_array_equal(seen | hidden, ~np.isnan(rows))
    assert not (seen & hidden).any()
    np.testing.assert_array_equal(examples.target[hidden], rows[hidden])
    np.testing.assert_array_equal(examples.filled, np.where(seen, rows, 9))
    assert 0.2 < hidden.sum() / (~np.isnan(rows)).sum() < 0.45
    assert (hidden[:500] != hidden[500:1000]).any()
    np.testing.assert_array_equal(hidden[:, 1], hidden[:, 2])


@pytest.mark.parametrize(("n_rows", "n_features"), [(100, 10), (3000, 40), (50_000, 500)])
def test_the_number_of_examples_is_bounded(n_rows, n_features):
    n_copies = copies(n_rows, n_features, MAX_COPIES)
    assert 1 <= n_copies <= MAX_COPIES
    assert n_copies in (1, MAX_COPIES) or n_copies * n_rows * n_features <= MAX_EXAMPLE_CELLS


def test_what_is_learned_from_many_rows_is_bounded(rng, monkeypatch):
    """The network, the stored rows and the errors are those of subsamples."""
    X = rng.normal(size=(60, 1)) + 0.1 * rng.normal(size=(60, 3))
    X = make_missing(np.tile(X, (50, 1)), random_state=0)
    monkeypatch.setattr(_learning, "MAX_EXAMPLE_CELLS", 300)
    monkeypatch.setattr(_nearest_rows, "MAX_STORED_ROWS", 256)
    imputer = AutoencoderImputer(max_iter=4, random_state=0).fit(X)
    assert imputer.n_iter_ == 4
    assert len(imputer._completion.neighbors.filled_) == 256
    assert imputer.estimator_._n_steps == 4  # of 100 rows
    assert not np.isnan(imputer.transform(X)).any()


def test_the_training_loss_is_that_of_masked_values(fitted, rng):
    model, module = fitted.estimator_, fitted.estimator_.module_
    examples = masked_examples(rng)[2]
    table = torch.from_numpy(examples.table())
    observed = ~table.isnan()
    x = ((table - module.shift) / module.scale).nan_to_num() * observed
    batch = Batch(x, observed.float(), torch.ones(len(x)), torch.ones(()))
    with torch.no_grad():
        module.train()
        module.encoder.eval()  # no dropout
        losses = total_of(model._objective(module, batch))
        module.eval()
    error = np.nan_to_num(model.complete(examples.filled, examples.seen) - examples.target)
    np.testing.assert_allclose(losses, np.square(error).mean(1), rtol=1e-4, atol=1e-6)


def test_quantile_bins():
    low, width = quantile_bins(np.arange(13.0)[:, None], 4)
    np.testing.assert_allclose(low, [[0, 3, 6, 9]])
    np.testing.assert_allclose(width, [[3, 3, 3, 3]])
    same = np.array([[1.0]] * 12 + [[2.0]])
    assert torch.isinf(quantile_bins(same, 4)[1]).sum() == 3
    np.testing.assert_allclose(quantile_bins(np.array([[0.0], [np.nan], [2.0]]), 1)[1], [[2]])


# --------------------------------------------------------------------------------------- promises


@pytest.mark.parametrize(
    ("estimator", "dtype"),
    [(None, np.float64), (None, np.float32), (LINEAR, np.float64), (DENOISER, np.float32)],
)
def test_observed_values_are_unchanged_and_missing_values_imputed(
    table, X_missing, estimator, dtype
):
    X = X_missing.astype(dtype)
    imputer = AutoencoderImputer(estimator, random_state=0).fit(X)
    filled = imputer.transform(X)
    assert filled.dtype == dtype
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
    assert (filled >= np.nanmin(X, axis=0)).all()
    assert (filled <= np.nanmax(X, axis=0)).all()
    alone = [imputer.transform(row[None])[0] for row in X[:9]]
    np.testing.assert_allclose(filled[:9], alone, rtol=1e-4, atol=1e-5)
    if estimator is None:
        means = SimpleImputer().fit_transform(X)
        assert rmse(filled, table, X) < 0.95 * rmse(means, table, X)


def test_complete_rows_and_columns_that_were_complete(table):
    imputer = AutoencoderImputer(random_state=0).fit(table)
    np.testing.assert_array_equal(imputer.transform(table), table)
    X_missing = table.copy()
    X_missing[:, 2] = np.nan
    error = imputer.transform(X_missing)[:, 2] - table[:, 2]
    assert np.abs(error).mean() < 0.3 * table[:, 2].std()


def test_units_do_not_matter(X_missing, fitted):
    one = fitted.transform(X_missing)
    scaled = X_missing * [1, 1e-5, 1e6, 8] + [3, 0, 0, -4]
    other = AutoencoderImputer(random_state=0).fit(scaled).transform(scaled)
    np.testing.assert_allclose(other, one * [1, 1e-5, 1e6, 8] + [3, 0, 0, -4], rtol=1e-3)


def test_rows_with_nothing_get_the_mean(X_missing, fitted):
    X = np.r_[X_missing, np.full((5, 4), np.nan)]
    imputer = AutoencoderImputer(random_state=0).fit(X)
    error = (imputer.transform(X)[-5:] - np.nanmean(X_missing, axis=0)) / np.nanstd(
        X_missing, axis=0
    )
    assert np.abs(error).max() < 0.1
    np.testing.assert_array_equal(imputer.transform(X_missing), fitted.transform(X_missing))


@DROPPED
def test_columns_with_nothing_are_dropped_or_zero(X_missing):
    X = np.insert(X_missing, 1, np.nan, axis=1)
    imputer = AutoencoderImputer(max_iter=1, random_state=0).fit(X)
    assert imputer.transform(X).shape == X_missing.shape
    assert imputer.get_feature_names_out().tolist() == ["x0", "x2", "x3", "x4"]
    kept = clone(imputer).set_params(keep_empty_features=True).fit(X)
    assert (kept.transform(X)[:, 1] == 0).all()
    np.testing.assert_array_equal(kept.transform(X)[:, [0, 2, 3, 4]], imputer.transform(X))
    assert AutoencoderImputer(keep_empty_features=True).fit_transform([[np.nan]] * 3).sum() == 0


def test_sentinels_and_indicator(X_missing, fitted):
    marked = np.where(np.isnan(X_missing), -1, X_missing)
    imputer = AutoencoderImputer(missing_values=-1, add_indicator=True, random_state=0)
    filled = imputer.fit_transform(marked)
    np.testing.assert_array_equal(filled, np.c_[fitted.transform(X_missing), np.isnan(X_missing)])
    simple = SimpleImputer(missing_values=-1, add_indicator=True).fit(marked)
    assert imputer.get_feature_names_out().tolist() == simple.get_feature_names_out().tolist()


def test_frames_come_back_as_frames(X_missing):
    frame = pd.DataFrame(X_missing, columns=list("abcd"), index=range(7, 407))
    imputer = AutoencoderImputer(max_iter=1, random_state=0).set_output(transform="pandas")
    imputer.fit(frame)
    filled = imputer.transform(frame)
    assert filled.columns.tolist() == list("abcd")
    assert filled.index.equals(frame.index)
    assert not filled.isna().any().any()


def test_samples_of_weight_zero_are_ignored(X_missing):
    weight = np.repeat([1.0, 0], [300, 100])
    imputer = AutoencoderImputer(max_iter=3, random_state=0)
    one = clone(imputer).fit(X_missing, sample_weight=weight)
    other = imputer.fit(X_missing[:300])
    np.testing.assert_allclose(one.transform(X_missing), other.transform(X_missing), rtol=1e-6)
    np.testing.assert_allclose(one.mean_, np.nanmean(X_missing[:300], axis=0))
    np.testing.assert_allclose(one.scale_, np.nanstd(X_missing[:300], axis=0))


def test_the_same_seed_is_the_same_imputer(X_missing, fitted):
    np.testing.assert_array_equal(
        clone(fitted).fit_transform(X_missing), fitted.transform(X_missing)
    )


def test_files(X_missing, fitted, tmp_path):
    linear = AutoencoderImputer(LINEAR, add_indicator=True, random_state=0).fit(X_missing)
    for imputer in (fitted, linear):
        skae.save(imputer, tmp_path / "imputer.skae")
        for again in (pickle.loads(pickle.dumps(imputer)), skae.load(tmp_path / "imputer.skae")):
            np.testing.assert_array_equal(again.transform(X_missing), imputer.transform(X_missing))


def test_failed_fits_change_nothing(X_missing, fitted):
    imputer = copy.deepcopy(fitted)
    before = imputer.transform(X_missing)
    with pytest.raises(ValueError, match="infinity"):
        imputer.fit(np.where(X_missing > 0, np.inf, X_missing))
    np.testing.assert_array_equal(imputer.transform(X_missing), before)


def test_in_a_pipeline_and_a_grid():
    X, y = load_iris(return_X_y=True)
    X = make_missing(X, random_state=0)
    pipeline = make_pipeline(
        AutoencoderImputer(max_iter=2, random_state=0), LogisticRegression(max_iter=500)
    )
    grid = {"autoencoderimputer__estimator": [None, LINEAR]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_score_ > 0.85
    assert clone(search.best_estimator_).fit(X, y).score(X, y) > 0.85


def test_infinity_and_text_are_refused(fitted):
    with pytest.raises(ValueError, match="Column 1 of X holds infinity"):
        fitted.transform([[0, np.inf, 0, 0]])
    with pytest.raises(ValueError, match="Column 0 of X holds text"):
        clone(fitted).fit([["a", 1.0], ["b", 2.0]])


def test_the_private_autoencoder_is_not_public():
    assert not hasattr(skae, ImputationNetwork.__name__)


# ----------------------------------------------------------------------------------- uncertainty


@pytest.fixture
def normal(rng):
    A = rng.normal(size=(5, 5))
    return rng.multivariate_normal(np.arange(5.0), A @ A.T, size=1200)


@pytest.mark.full
@pytest.mark.as_usual
@pytest.mark.parametrize("fraction", [pytest.param(0.2, marks=pytest.mark.full), 0.5])
def test_intervals_of_draws_cover(normal, fraction):
    X_missing = make_missing(normal, fraction=fraction, random_state=0)
    imputer = AutoencoderImputer(max_iter=50, random_state=0).fit(X_missing[:600])
    draws = imputer.sample(X_missing[600:], 100, random_state=0)
    missing = np.isnan(X_missing[600:])
    np.testing.assert_array_equal(draws[:, ~missing], np.tile(X_missing[600:][~missing], (100, 1)))
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    inside = (low <= normal[600:]) & (normal[600:] <= high)
    assert 0.85 < inside[missing].mean() < 0.94
    filled = imputer.transform(X_missing[600:])
    std = normal.std(0)
    assert (np.abs(draws.mean(0) - filled) / std)[missing].mean() < 0.15


def test_draws_of_a_row_are_correlated(rng):
    x = rng.normal(size=500)
    X = np.c_[x + 0.05 * rng.normal(size=500), x, rng.normal(size=(500, 2))]
    imputer = AutoencoderImputer(random_state=0).fit(make_missing(X, random_state=0))
    both = np.tile([np.nan, np.nan, 0, 0], (300, 1))
    drawn = imputer.sample(both, 1, random_state=0)[0]
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.9


@pytest.mark.full
def test_a_variational_autoencoder_fills_and_draws_by_its_own_distribution(normal):
    X_missing = make_missing(normal, fraction=0.3, random_state=0)
    vae = VariationalAutoencoder(2, max_iter=5, early_stopping=False)
    imputer = AutoencoderImputer(vae, clip=False, random_state=0).fit(X_missing[:600])
    X_missing, normal = X_missing[600:], normal[600:]
    Z = (X_missing - imputer.mean_) / imputer.scale_
    expected = imputer.estimator_.conditional_mean(Z) * imputer.scale_ + imputer.mean_
    np.testing.assert_allclose(imputer.transform(X_missing), expected, rtol=1e-5, atol=1e-5)
    missing = np.isnan(X_missing)
    low, high = np.quantile(imputer.sample(X_missing, 100, random_state=0), [0.05, 0.95], axis=0)
    assert ((low <= normal) & (high >= normal))[missing].mean() == pytest.approx(0.9, abs=0.04)
    report = imputer.over_impute(normal[:200], random_state=0)
    assert report["coverage"].mean() == pytest.approx(0.9, abs=0.04)


def test_draws_follow_their_seed(X_missing, fitted):
    one, other = (fitted.sample(X_missing, 2, random_state=4) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (2, *X_missing.shape)
    with pytest.raises(ValueError, match="n_imputations must be a positive integer"):
        fitted.sample(X_missing, 0)


def test_over_impute_equals_masking_by_hand(table):
    imputer = AutoencoderImputer(random_state=0).fit(table[:300])
    report = imputer.over_impute(table[300:], 0.3, random_state=0)
    own = np.random.RandomState(0).randint(2**31 - 1)
    hidden = np.random.RandomState(own).uniform(size=(100, 4)) < 0.3
    error = imputer.transform(np.where(hidden, np.nan, table[300:])) - table[300:]
    expected = np.sqrt((error**2 * hidden).sum(0) / hidden.sum(0))
    np.testing.assert_array_equal(report["n_cells"], hidden.sum(0))
    np.testing.assert_allclose(report["rmse"], expected)
    means = np.sqrt(((table[300:] - imputer.mean_) ** 2 * hidden).sum(0) / hidden.sum(0))
    np.testing.assert_allclose(report["rmse_of_means"], means)
    assert report["coverage"].between(0.6, 1).all()
    with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
        imputer.over_impute(table, 1.0)


def test_cells_of_over_impute_are_those_of_the_report(table):
    X = np.insert(table, 1, np.nan, axis=1)
    with pytest.warns(AutoencoderWarning, match="dropped: 1"):
        imputer = AutoencoderImputer(max_iter=1, random_state=0).fit(X[:300])
    given = X[300:], 0.3, 0.8
    cells = imputer.over_impute_cells(*given, random_state=0)
    assert cells.columns.tolist() == ["row", "column", "truth", "estimate", "low", "high"]
    columns = cells["column"].str[1:].astype(int)
    np.testing.assert_array_equal(cells["truth"], X[300 + cells["row"], columns])
    masked = X[300:].copy()
    masked[cells["row"], columns] = np.nan
    filled = np.insert(imputer.transform(masked), 1, np.nan, axis=1)
    np.testing.assert_array_equal(cells["estimate"], filled[cells["row"], columns])
    report = imputer.over_impute(*given, random_state=0)
    cells["square"] = (cells["estimate"] - cells["truth"]) ** 2
    cells["covered"] = cells["truth"].between(cells["low"], cells["high"])
    of_column = cells.groupby("column")
    np.testing.assert_array_equal(report["n_cells"], of_column.size()[report.index])
    rmse = np.sqrt(of_column["square"].mean())
    np.testing.assert_allclose(report["rmse"], rmse[report.index])
    coverage = of_column["covered"].mean()
    np.testing.assert_allclose(report["coverage"], coverage[report.index])
    with pytest.raises(ValueError, match="coverage must be between 0 and 1"):
        imputer.over_impute_cells(table, 0.1, 2.0)


def test_over_impute_is_independent_of_make_missing_with_the_same_seed(table):
    X_missing = make_missing(table, fraction=0.2, random_state=0)
    imputer = AutoencoderImputer(max_iter=1, random_state=0).fit(X_missing)
    n_cells = imputer.over_impute(X_missing, 0.1, random_state=0)["n_cells"]
    assert n_cells.sum() == pytest.approx(0.1 * 0.8 * table.size, rel=0.3)


@pytest.mark.parametrize("estimator", [None, LinearAutoencoder(1)])
def test_tables_in_which_nothing_varies(estimator):
    X = np.tile([1.0, 2.0, 3.0], (30, 1))
    imputer = AutoencoderImputer(estimator, max_iter=1, random_state=0).fit(X)
    assert imputer.transform([[np.nan, 2, np.nan]]).tolist() == [[1, 2, 3]]
    drawn = imputer.sample([[np.nan, 2, np.nan]], 3, random_state=0)
    np.testing.assert_allclose(drawn, np.tile([1, 2, 3], (3, 1, 1)))
    assert imputer.over_impute(X, 0.5, random_state=0)["rmse"].tolist() == [0, 0, 0]
    two = clone(imputer).fit_transform([[1, 2], [1, np.nan]])
    assert two.tolist() == [[1, 2], [1, 2]]
    weighed = clone(imputer).fit(np.arange(60.0).reshape(20, 3), sample_weight=np.eye(20)[4])
    assert weighed.transform([[np.nan, 1, np.nan]]).tolist() == [[12, 1, 14]]


def test_what_is_known_of_an_empty_column_stays(table):
    X = np.insert(table, 1, np.nan, axis=1)
    imputer = AutoencoderImputer(keep_empty_features=True, max_iter=1, random_state=0).fit(X)
    row = np.array([[1.0, 5.0, np.nan, 2.0, 3.0], [1.0, np.nan, 1.0, 2.0, 3.0]])
    assert imputer.transform(row)[:, 1].tolist() == [5, 0]
    assert imputer.sample(row, 2, random_state=0)[:, :, 1].tolist() == [[5, 0], [5, 0]]


@pytest.mark.full
@pytest.mark.parametrize(
    "inner",
    [
        Autoencoder(2),
        SparseAutoencoder(6),
        KSparseAutoencoder(6, n_nonzero_coefs=2),
        DenoisingAutoencoder(noise="masking"),
        ContractiveAutoencoder(2),
        VariationalAutoencoder(2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_any_autoencoder_fills(X_missing, table, inner):
    inner.set_params(max_iter=20, early_stopping=False)
    imputer = AutoencoderImputer(inner, random_state=0).fit(X_missing)
    missing = np.isnan(X_missing)
    filled = imputer.transform(X_missing)
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~missing], X_missing[~missing])
    by_mean = np.broadcast_to(np.nanmean(X_missing, axis=0), table.shape)
    assert np.mean((filled - table)[missing] ** 2) < np.mean((by_mean - table)[missing] ** 2)


@DROPPED
def test_reports_name_columns_and_leave_out_empty_ones(X_missing):
    frame = pd.DataFrame(np.insert(X_missing, 1, np.nan, axis=1), columns=list("abcde"))
    imputer = AutoencoderImputer(max_iter=1, random_state=0).fit(frame)
    assert imputer.over_impute(frame, random_state=0).index.tolist() == list("acde")
    assert imputer.sample(frame, 2, random_state=0).shape == (2, 400, 4)


def gaussian_imputer(**params):
    return AutoencoderImputer(max_iter=1, random_state=0, **params)


IDS = 2**60 + 1 + np.arange(20)


@pytest.mark.parametrize(
    "ids",
    [IDS, IDS.astype("u8"), IDS.astype(object), np.ma.array(IDS, mask=IDS % 5 == 0), -IDS],
    ids=["int64", "uint64", "objects", "masked", "negative"],
)
def test_integers_come_back_or_are_refused(ids):
    X = np.ma.array([ids, ids]).T
    X = X if np.ma.is_masked(X) else X.data
    is_plain = X.dtype != object and not np.ma.is_masked(X)
    for table in (X, X.tolist(), *([pd.DataFrame(X)] if is_plain else [])):
        start_fit = gaussian_imputer()
        with pytest.raises(ValueError, match="Column '?0'? of X holds -?11529.*'Int64'"):
            start_fit.fit(table)
        assert not [name for name in vars(start_fit) if name.endswith("_")]
    held = (X - 1) // 2**30 * 2**30
    gaussian_imputer().fit(held)
    frame = pd.DataFrame(pd.array(ids.tolist(), dtype="Int64"), columns=["id"]).assign(x=range(20))
    filled = gaussian_imputer().fit_transform(frame)["id"]
    known = frame["id"].notna()
    assert filled[known].equals(frame["id"][known])


def test_what_stands_for_missing_need_not_be_held():
    X = np.arange(40).reshape(20, 2)
    X[3, 1] = np.iinfo(np.int64).max
    filled = gaussian_imputer(missing_values=np.iinfo(np.int64).max).fit_transform(X)
    assert filled[3, 1] <= 39
    X[4, 1] = np.iinfo(np.int64).max - 1
    with pytest.raises(ValueError, match="holds 9223372036854775806"):
        gaussian_imputer(missing_values=np.iinfo(np.int64).max).fit(X)


def test_text_of_arrays_is_for_frames():
    """As the sentence says, and the advice works."""
    X = np.array([["a", 1.0], [None, 2.0], ["b", 3.0]] * 20, dtype=object)
    for table in (X, X.tolist(), X[:, 1:].astype(str)):
        with pytest.raises(ValueError, match="Column 0 of X holds text, .* pandas DataFrame"):
            gaussian_imputer().fit(table)
    assert set(gaussian_imputer().fit_transform(pd.DataFrame(X))[0]) == {"a", "b"}


def test_dropped_columns_are_named(X_missing):
    X = pd.DataFrame(X_missing, columns=list("abcd")).assign(b=np.nan, d=np.nan)
    for table, names in ((X, "'b', 'd'"), (X.to_numpy(), "1, 3")):
        with pytest.warns(AutoencoderWarning, match=f"dropped: {names}. Set keep") as caught:
            imputer = gaussian_imputer().fit(table)
        assert len(caught) == 1
        imputer.transform(table)
        gaussian_imputer(keep_empty_features=True).fit(table)


# ------------------------------------------------------------------- range, implausible values


def related(rng, n=200, noise=0.3):
    return rng.normal(size=(n, 3)) @ rng.normal(size=(3, 6)) + noise * rng.normal(size=(n, 6))


def test_determined_values_may_leave_the_range(rng):
    table = np.tile(rng.normal(size=(100, 1)), (1, 10))
    X = make_missing(table, fraction=0.25, random_state=0)
    imputer = AutoencoderImputer(max_iter=5, random_state=0).fit(X[:50])
    assert rmse(imputer.transform(X[50:]), table[50:], X[50:]) < 1e-3
    # By the width of the range at most.
    row = np.full((1, 10), 4 * table[:50].max())
    row[0, 3] = np.nan
    low, high = imputer.data_min_[3], imputer.data_max_[3]
    np.testing.assert_allclose(imputer.transform(row)[0, 3], 2 * high - low, rtol=1e-3)


def test_uncertain_values_stay_in_range(rng):
    table = np.maximum(related(rng, noise=1.0), 0)
    imputer = AutoencoderImputer(max_iter=5, random_state=0).fit(
        make_missing(table[:100], fraction=0.2, random_state=0)
    )
    X = make_missing(table[100:], fraction=0.5, random_state=1)
    filled = imputer.transform(X)
    assert (filled >= 0).all()
    assert (imputer.sample(X, 3, random_state=0) >= 0).all()
    assert (imputer.set_params(clip=False).sample(X, 3, random_state=0) < 0).any()


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e12, 1e300])
def test_an_implausible_value_is_ignored_but_returned(rng, factor):
    X = make_missing(related(rng), fraction=0.15, random_state=0)
    X[3] = [1.0, 1.0, np.nan, 1.0, np.nan, 1.0]
    implausible, without = X.copy(), X.copy()
    implausible[3, 1], without[3, 1] = factor, np.nan
    imputer = AutoencoderImputer(max_iter=5, random_state=0).fit(implausible)
    expected = AutoencoderImputer(max_iter=5, random_state=0).fit(without)
    filled, other = imputer.transform(implausible), expected.transform(without)
    assert filled[3, 1] == factor
    other[3, 1] = factor
    np.testing.assert_array_equal(filled, other)
    assert imputer.data_max_[1] == expected.data_max_[1] < 100
    report = imputer.over_impute(implausible, random_state=0)
    assert np.isfinite(report.to_numpy()).all()
    assert np.isfinite(imputer.sample(implausible, 2, random_state=0)).all()


def test_several_implausible_values_of_a_column_are_found(rng):
    X = related(rng)
    without = X.copy()
    X[[1, 20, 33, 50], 2], without[[1, 20, 33, 50], 2] = [1e5, -1e5, 1e9, 2e5], np.nan
    imputer = AutoencoderImputer(max_iter=1, random_state=0).fit(X)
    expected = AutoencoderImputer(max_iter=1, random_state=0).fit(without)
    np.testing.assert_array_equal(imputer.data_max_, expected.data_max_)
    np.testing.assert_array_equal(imputer.mean_, expected.mean_)


def test_long_tails_are_plausible(rng):
    X = np.c_[np.exp(rng.normal(size=(5000, 2))), rng.random(size=(5000, 1)) < 1e-3]
    imputer = AutoencoderImputer(max_iter=1, random_state=0).fit(X)
    np.testing.assert_array_equal(imputer.data_max_, X.max(axis=0))


def test_a_network_that_diverges_leaves_the_gaussian(X_missing, monkeypatch):
    monkeypatch.setattr(_trainer, "DIVERGED", 0.0)
    with pytest.warns(skae.AutoencoderWarning, match="stays at its start") as caught:
        imputer = AutoencoderImputer(random_state=0).fit(X_missing)
    assert "learning_rate" not in str(caught[0].message)
    Z = (X_missing - imputer.mean_) / imputer.scale_
    expected = imputer._completion.gaussian.fill(*masked_tensors(Z))
    by_network = imputer.estimator_.complete(expected.numpy(), ~np.isnan(Z))
    np.testing.assert_allclose(by_network, expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(imputer.transform(X_missing)).all()


# ------------------------------------------------------------------------------- rows of no weight


def test_incomplete_samples_of_weight_zero_are_ignored(rng):
    table = related(rng)
    X = make_missing(table, fraction=0.2, random_state=0)
    X[::4, 1], X[1::4, 1] = np.nan, table[1::4, 1]
    X[2::4, 1], X[3::4, 1] = table[2::4, 1], table[3::4, 1]
    X[::4] *= 100
    weight = rng.uniform(0.1, 1, size=200)
    weight[::4] = 0
    kept = weight > 0
    everything, some = (
        AutoencoderImputer(max_iter=2, random_state=0, add_indicator=True).fit(*rows)
        for rows in ((X, None, weight), (X[kept], None, weight[kept]))
    )
    assert everything.indicator_features_.tolist() == [0, 2, 3, 4, 5]
    for name in ("mean_", "scale_", "data_min_", "data_max_"):
        np.testing.assert_array_equal(getattr(everything, name), getattr(some, name))
    np.testing.assert_array_equal(everything.transform(X), some.transform(X))
    drawn = (i.sample(X, 2, random_state=0) for i in (everything, some))
    np.testing.assert_array_equal(*drawn)


def test_categories_of_rows_of_weight_zero_are_absent(rng):
    frame = pd.DataFrame(related(rng)[:, :2], columns=["a", "b"])
    frame["c"] = np.where(frame["a"] > 0, "high", "low").astype(object)
    frame.loc[0, "c"] = "never"
    frame.loc[1, "b"] = None
    frame.loc[2, "c"] = None
    weight = np.r_[0.0, 0.0, np.ones(198)]
    imputer = AutoencoderImputer(max_iter=1, random_state=0, add_indicator=True)
    everything = clone(imputer).fit(frame, sample_weight=weight)
    some = clone(imputer).fit(frame[2:])
    assert everything.indicator_.features_.tolist() == [2]
    pd.testing.assert_frame_equal(everything.transform(frame[1:]), some.transform(frame[1:]))
    with pytest.raises(ValueError, match="'never', a category that fit did not see"):
        everything.transform(frame)


# --------------------------------------------------------------------------------------- indicator


@pytest.mark.parametrize("sentinel", [np.nan, -1, 0])
def test_the_indicator_is_that_of_scikit_learn(rng, sentinel, tmp_path):
    X = make_missing(related(rng)[:, :3], fraction=0.2, random_state=0)
    X[:, 1] = np.arange(1.0, 201)
    X = np.where(np.isnan(X), sentinel, X)
    imputer = AutoencoderImputer(
        max_iter=1, random_state=0, add_indicator=True, missing_values=sentinel
    ).fit(X)
    expected = MissingIndicator(missing_values=sentinel, error_on_new=False).fit(X)
    np.testing.assert_array_equal(imputer.indicator_.features_, expected.features_)
    np.testing.assert_array_equal(imputer.transform(X)[:, 3:], expected.transform(X))
    np.testing.assert_array_equal(imputer.indicator_.transform(X), expected.transform(X))
    skae.save(imputer, tmp_path / "imputer.skae")
    loaded = skae.load(tmp_path / "imputer.skae")
    np.testing.assert_array_equal(loaded.indicator_.features_, expected.features_)
    assert clone(imputer).set_params(add_indicator=False).fit(X).indicator_ is None
    complete = clone(imputer).fit(np.arange(1.0, 61).reshape(20, 3))
    assert complete.indicator_.features_.tolist() == []


@pytest.mark.parametrize("ends", [(-1.7e308, 1.7e307), (-1.7e308, 1.7e308), (1e-320, 2e-320)])
def test_columns_as_wide_as_floats_are_described(ends):
    imputer = AutoencoderImputer().fit(np.array(ends)[:, None])
    np.testing.assert_allclose(imputer.mean_, np.mean(np.array(ends) / 2) * 2)
    np.testing.assert_allclose(imputer.scale_, np.diff(np.array(ends) / 2))
