"""Frequency tables and the entropy coder: exact, lossless, and close to the entropy."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from threadpoolctl import threadpool_limits

from skae._file_format import read, write
from skae.compression import _coder
from skae.compression._coder import decode, encode
from skae.compression._tables import LIMIT, MAX_EXACT, TOTAL, Bins, CodeTables

constriction = pytest.importorskip("constriction")
SCALES = np.geomspace(0.3, 40, 32)


def normal(n, seed=0, scales=SCALES):
    draw = np.random.default_rng(seed)
    return np.rint(draw.normal(size=(n, len(scales))) * scales).astype(np.int64)


@pytest.fixture(scope="module")
def tables():
    return CodeTables().fit(normal(5000))


CODES = st.one_of(st.integers(-3, 3), st.integers(-9000, 9000), st.integers(1 - LIMIT, LIMIT - 1))


@st.composite
def matrices(draw):
    """Training rows and other rows, of the same number of columns."""
    k = draw(st.integers(1, 4))
    shapes = st.integers(1, 30), st.integers(0, 30)
    return [draw(hnp.arrays(np.int64, (draw(n), k), elements=CODES)) for n in shapes]


# ----------------------------------------------------------------------------------- tables


@given(
    st.integers(1 - LIMIT, LIMIT - 1),
    st.integers(0, MAX_EXACT - 1),
    st.tuples(st.integers(0, 62), st.integers(0, 62)),
)
@settings(max_examples=200, deadline=None)
@example(1 - LIMIT, 0, (62, 62))
@example(LIMIT - 1, 0, (62, 62))
def test_bins_partition_all_integers_within_the_limit(low, n_more, n_fine):
    high = min(low + n_more, LIMIT - 1)
    bins = Bins.around(low, high, n_fine)
    starts, widths = [int(s) for s in bins.start], [2 ** int(b) for b in bins.n_bits]
    ends = [s + w for s, w in zip(starts, widths, strict=True)]
    assert starts[1:] == ends[:-1]
    assert starts[0] <= 1 - LIMIT
    assert ends[-1] >= LIMIT
    exact = bins.symbols(np.arange(low, high + 1))
    assert (bins.n_bits[exact] == 0).all()


@given(matrices())
@settings(max_examples=50, deadline=None)
def test_frequencies_of_each_column_are_positive_and_sum_to_the_total(rows):
    tables = CodeTables().fit(rows[0])
    for bins, frequency in tables.columns():
        assert len(bins.start) == len(frequency) < 2 * MAX_EXACT
        assert frequency.min() >= 1
        assert frequency.sum() == TOTAL


def test_all_values_of_a_bin_cost_the_same():
    tables = CodeTables().fit(normal(100, scales=[1000.0]))
    ((bins, frequency),) = tables.columns()
    cost = 24 - np.log2(frequency) + bins.n_bits
    for values in (bins.start, bins.start + 2**bins.n_bits - 1):
        valid = np.abs(values) < LIMIT
        assert valid.sum() >= len(values) - 4
        assert (tables.bits(values[valid, None])[:, 0] == cost[valid]).all()


def discretised(distribution, reach):
    v = np.arange(-reach, reach + 1)
    return v, distribution.cdf(v + 0.5) - distribution.cdf(v - 0.5)


def sparse():
    v, p = discretised(stats.laplace(scale=20), 400)
    p *= 0.1
    p[400] += 0.9
    return v, p


# Probabilities, and bits per value above the entropy after 100, 1,000 and 60,000 training rows.
COLUMNS = {
    "normal": (discretised(stats.norm(scale=5), 60), (0.12, 0.02, 0.002)),
    "fine normal": (discretised(stats.norm(scale=300), 4000), (0.2, 0.04, 0.003)),
    "wide normal": (discretised(stats.norm(scale=1e5), 10**6), (0.5, 0.15, 0.02)),
    "Laplace": (discretised(stats.laplace(scale=5), 200), (0.15, 0.03, 0.003)),
    "sparse": (sparse(), (0.3, 0.1, 0.006)),
    "uniform": ((np.arange(16), np.full(16, 1 / 16)), (0.2, 0.03, 0.001)),
    "constant": ((np.array([7]), np.ones(1)), (0.01, 0.001, 0.0001)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_expected_cost_of_new_values_is_close_to_the_entropy(name):
    (values, p), limits = COLUMNS[name]
    p = p / p.sum()
    entropy = stats.entropy(p, base=2)
    draw = np.random.default_rng(0)
    for n, limit in zip((100, 1000, 60_000), limits, strict=True):
        tables = CodeTables().fit(draw.choice(values, (n, 1), p=p))
        assert -1e-9 <= p @ tables.bits(values[:, None])[:, 0] - entropy < limit


def test_values_outside_cost_little_more_than_the_logarithm_of_their_distance():
    tables = CodeTables().fit(normal(1000, scales=[3.0]))
    for exponent in (5, 10, 20, 60):
        for sign in (1, -1):
            cost = tables.bits([[sign * 2**exponent]])[0, 0]
            assert cost <= min(24 + exponent, 15 + 2 * exponent)


def test_tables_of_wide_columns_are_bounded():
    X = np.random.default_rng(0).integers(1 - LIMIT, LIMIT, (5000, 3))
    tables = CodeTables().fit(X)
    assert len(tables.frequency_) < 3 * MAX_EXACT
    assert tables.bits(X).mean() < 62 + 0.5
    assert (decode(encode(X, tables), len(X), tables) == X).all()


def test_weights_are_relative_and_weight_zero_is_absence():
    X, w = normal(300), np.random.default_rng(1).integers(0, 3, 300)
    once = CodeTables().fit(X, w).frequency_
    assert (CodeTables().fit(X, w * 8.0).frequency_ == once).all()
    assert (CodeTables().fit(X[w > 0], w[w > 0]).frequency_ == once).all()
    assert (CodeTables().fit(X, np.full(300, 2)).frequency_ == CodeTables().fit(X).frequency_).all()
    heavy = CodeTables().fit(X, np.where(X[:, -1] > 0, 1000, 1))
    positive = np.tile(X[X[:, -1] > 0][:1], (2, 1))
    assert heavy.bits(positive)[0, -1] < CodeTables().fit(X).bits(positive)[0, -1]


@pytest.mark.parametrize(
    ("X", "sentence"),
    [
        (np.zeros(3, int), "must be a matrix of integers; got an array of shape"),
        (np.zeros((3, 2)), "must be a matrix of integers"),
        (np.zeros((3, 2), bool), "must be a matrix of integers"),
        (np.array([[LIMIT]]), "below 2\\*\\*61"),
        (np.array([[2**63]], np.uint64), "below 2\\*\\*61"),
        (np.array([[-(2**63)]]), "below 2\\*\\*61"),
        (np.zeros((0, 2), int), "requires a row"),
        (np.zeros((2, 0), int), "requires a row"),
    ],
)
def test_what_is_no_matrix_of_codes_is_refused(X, sentence):
    with pytest.raises(ValueError, match=sentence):
        CodeTables().fit(X)


def test_rows_without_weight_and_other_columns_are_refused(tables):
    with pytest.raises(ValueError, match="non-zero"):
        CodeTables().fit(normal(3), [0, 0, 0])
    for function in (tables.bits, lambda X: encode(X, tables)):
        with pytest.raises(ValueError, match="must have 32 columns; got 1"):
            function(np.zeros((2, 1), int))


def test_tables_in_a_file(tables, tmp_path):
    write(tmp_path / "tables", "tables", tables)
    loaded = read(tmp_path / "tables", "tables", lambda value: isinstance(value, CodeTables))
    X = normal(100, 1)
    small = CodeTables().fit(np.array([[-100], [100]]))
    loaded_as_bytes = CodeTables()
    vars(loaded_as_bytes).update(
        vars(small) | {name: getattr(small, name).astype(np.int8) for name in ("low_", "high_")}
    )
    assert encode([[7]], loaded_as_bytes) == encode([[7]], small)
    assert encode(X, loaded) == encode(X, tables)
    assert (loaded.bits(X) == tables.bits(X)).all()


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("frequency_", lambda f: f + np.uint32(1), "do not sum"),
        ("frequency_", lambda f: np.roll(f, 200), "do not sum"),
        ("frequency_", lambda f: f[:-1], "frequencies"),
        ("frequency_", lambda f: f * np.uint32(0), "frequencies"),
        ("frequency_", lambda f: f.astype(float), "'frequency_' is not valid"),
        ("low_", lambda v: v - 10**6, "too wide"),
        ("low_", lambda v: v - 1, "frequencies"),
        ("high_", lambda v: v - 10**6, "ranges"),
        ("high_", lambda v: v + 2**62, "ranges"),
        ("high_", lambda v: v[:-1], "'high_' is not valid"),
        ("n_fine_", lambda v: v + 63, "too wide"),
        ("n_columns_", lambda k: 10**12, "is not valid"),
    ],
)
def test_forged_tables_are_refused(tables, tmp_path, name, change, sentence):
    forged = CodeTables()
    vars(forged).update(vars(tables) | {name: change(getattr(tables, name))})
    with pytest.raises(ValueError, match=sentence):
        write(tmp_path / "tables", "tables", forged)


# ------------------------------------------------------------------------------------ coder


@given(matrices())
@settings(max_examples=100, deadline=None)
def test_any_matrix_is_decoded_exactly(rows):
    """Including values far outside of the tables, no rows and one column."""
    train, X = rows
    tables = CodeTables().fit(train)
    for Z in (train, X, X[:1]):
        code = encode(Z, tables)
        decoded = decode(code, len(Z), tables)
        assert decoded.dtype == np.int64
        assert (decoded == Z).all()
        assert decoded.shape == Z.shape
        assert len(code) <= tables.bits(Z).sum() / 8 + 1.01


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16, np.uint64])
def test_all_integer_types_have_the_same_code(tables, dtype):
    X = normal(20) % 100
    assert encode(X.astype(dtype), tables) == encode(X, tables)
    assert encode(np.asfortranarray(X), tables) == encode(X, tables)


def test_one_million_codes_take_their_entropy():
    X = normal(31_250)
    tables = CodeTables().fit(X)
    code = encode(X, tables)
    assert (decode(code, len(X), tables) == X).all()
    assert len(code) * 8 == pytest.approx(tables.bits(X).sum(), rel=1e-4)
    shares = [np.unique(column, return_counts=True)[1] / len(X) for column in X.T]
    entropy = len(X) * sum(stats.entropy(share, base=2) for share in shares)
    assert len(code) * 8 < 1.005 * entropy


@pytest.mark.parametrize("n_symbols", [2, 50, 4096])
def test_the_coder_uses_exactly_the_frequencies_of_the_table(n_symbols):
    """Decoding of a number of 24 bits shows which symbol each one belongs to."""
    draw = np.random.default_rng(0)
    skewed = draw.choice(n_symbols, 5000, p=draw.dirichlet(np.full(n_symbols, 0.05)))
    tables = CodeTables().fit(skewed[:, None])
    ((bins, frequency),) = tables.columns()
    (model,) = _coder._models_of(tables)
    ends = np.cumsum(frequency)
    numbers = np.unique(np.concatenate([ends - frequency, ends - 1, draw.integers(0, TOTAL, 1000)]))
    for number in numbers.tolist():
        coder = constriction.stream.stack.AnsCoder(np.array([number, 1], dtype=np.uint32))
        symbol = np.searchsorted(ends, number, side="right")
        assert coder.decode(model.categorical) == symbol < len(bins.start)


def test_a_row_takes_its_bits_rounded_up_to_bytes(tables):
    X = normal(300, 2)
    lengths = np.array([len(encode(row[None], tables)) for row in X])
    assert (lengths <= np.ceil(tables.bits(X).sum(1) / 8) + 1).all()
    assert lengths.mean() < np.ceil(tables.bits(X).sum(1) / 8).mean() + 0.1


def test_many_rows_of_a_constant_take_next_to_nothing():
    X = np.full((100_000, 3), -5)
    tables = CodeTables().fit(X)
    code = encode(X, tables)
    assert len(code) <= 8
    assert (decode(code, len(X), tables) == X).all()


def test_tables_that_are_fitted_again_have_another_code():
    tables = CodeTables().fit(normal(50))
    X = normal(50, 1)
    encode(X, tables)
    tables.fit(10 * normal(200))
    assert encode(X, tables) == encode(X, CodeTables().fit(10 * normal(200)))


def test_codes_depend_neither_on_threads_nor_on_the_precision_of_weights():
    X, w = normal(2000), np.random.default_rng(0).uniform(size=2000).astype(np.float32)
    tables = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            tables += [CodeTables().fit(X, w.astype(dtype)) for dtype in (np.float32, np.float64)]
    codes = {encode(X, t) for t in tables}
    assert len(codes) == 1
    with ThreadPoolExecutor(2) as pool:
        decoded = list(pool.map(lambda t: decode(*codes, len(X), t), tables))
    assert all((D == X).all() for D in decoded)


def test_other_bytes_are_refused_or_are_other_integers(tables):
    X = normal(30)
    code, draw = encode(X, tables), np.random.default_rng(0)
    for _ in range(100):
        try:
            decoded = decode(draw.bytes(len(code)), len(X), tables)
        except ValueError:
            continue
        assert decoded.shape == X.shape
    with pytest.raises(ValueError, match="The data are not the code of 30 rows by these tables"):
        decode(b"\xff" * len(code), len(X), tables)


def test_without_constriction_there_is_one_sentence(tables, monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    for function in (lambda: encode(normal(3), tables), lambda: decode(b"", 3, tables)):
        with pytest.raises(ImportError, match="Entropy coding requires constriction. You can"):
            function()
