"""The documentation is correct: its examples run, its tables match the code."""

import doctest
import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skae
from skae.architectures import Architecture
from skae.impute import AutoencoderImputer
from skae.outlier import _denoiser
from skae.training import _budget, seeded

ROOT = Path(__file__).parent.parent
MODULES = [m.name for m in pkgutil.walk_packages(skae.__path__, "skae.")]
PUBLIC = [getattr(skae, name) for name in skae.__all__]
PUBLIC_MODULES = (
    *("", ".displays", ".inspection", ".metrics", ".model_selection", ".extension"),
    *(".onnx", ".dask"),
)


def public_objects():
    """Return each public class and function by the name under which it is documented."""
    found = {}
    for suffix in PUBLIC_MODULES:
        module = importlib.import_module(f"skae{suffix}")
        for name in module.__all__:
            thing = getattr(module, name)
            if (inspect.isclass(thing) or callable(thing)) and thing not in found.values():
                found[f"{module.__name__}.{name}"] = thing
    return found


WITH_DASK = ("skae.dask._fit", "skae.dask._lazy", "docs/distributed.md")
NEED_ONNX = ("skae.onnx._convert", "docs/onnx.md")


def skip_without_what_it_needs(name):
    for module in ("onnx", "onnxscript", "skl2onnx", "onnxruntime") if name in NEED_ONNX else ():
        pytest.importorskip(module)


PUBLIC_NAMES = sorted(public_objects())


OF_DASK = [
    pytest.mark.dask,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of connections that are closed late
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def with_marks(name, *marks):
    """Return a module or a page as a parameter of a test, with the marks that it needs."""
    return pytest.param(name, marks=[*marks, *(OF_DASK if name in WITH_DASK else [])])


@pytest.mark.parametrize("name", [with_marks(name) for name in MODULES])
def test_examples_run(name, monkeypatch):
    skip_without_what_it_needs(name)
    budget = AutoencoderImputer._budget._replace(n_network_steps=60)
    monkeypatch.setattr(AutoencoderImputer, "_budget", budget)
    module = importlib.import_module(name)
    with seeded(0):  # an architecture that is called by itself draws weights from torch's generator
        results = doctest.testmod(module)
    assert results.failed == 0


def test_all_is_sorted_and_true():
    assert skae.__all__ == sorted(skae.__all__)
    assert all(hasattr(skae, name) for name in skae.__all__)


def test_reference_lists_everything_public():
    page = (ROOT / "docs" / "api.md").read_text()
    listed = []
    for part in page.split("currentmodule:: ")[1:]:
        module, *lines = part.splitlines()
        listed += [f"{module}.{line.strip()}" for line in lines if re.match(r"   \w+$", line)]
    assert sorted(listed) == PUBLIC_NAMES


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda t: t.__name__)
def test_public_classes_and_methods_are_documented(thing):
    doc = inspect.getdoc(thing)
    if hasattr(thing, "get_params"):
        for section in ("Parameters", "Examples", "See Also"):
            assert f"\n{section}\n{'-' * len(section)}\n" in doc
    for name, method in inspect.getmembers(thing, inspect.isfunction):
        if method.__module__.startswith("skae") and not name.startswith("_"):
            fingerprint = inspect.getdoc(method)
            for parameter in list(inspect.signature(method).parameters)[1:]:
                assert re.search(
                    rf"(^|[ ,*]){parameter}(, \w+)* : |, {parameter} : ", fingerprint, re.M
                )
            assert "Returns\n-------" in fingerprint


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)


QUICK = ("README.md", "docs/extending.md")  # the other pages take longer
FILES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
PAGES = [page for page in (f.relative_to(ROOT).as_posix() for f in FILES) if blocks(page)]


def test_pages_with_python_are_found():
    without = {"alternatives", "api", "defaults", "faq", "guide"}
    names = {path.stem for path in ROOT.glob("docs/*.md")} - without
    assert {"README.md", *(f"docs/{name}.md" for name in names)} <= set(PAGES)


# A training as short as this one may well stay at its start, which a user is warned of.
@pytest.mark.filterwarnings("ignore::skae.AutoencoderWarning")
@pytest.mark.parametrize(
    "page", [with_marks(p, *([] if p in QUICK else [pytest.mark.full])) for p in sorted(PAGES)]
)
def test_python_in_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    skip_without_what_it_needs(page)
    monkeypatch.setattr(Architecture, "_budget", (200, 20))
    budget = AutoencoderImputer._budget._replace(n_network_steps=30)
    monkeypatch.setattr(AutoencoderImputer, "_budget", budget)
    monkeypatch.setattr(_denoiser, "N_STEPS", 200)
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")  # classes of a page are pickled by the name of their module
    monkeypatch.setitem(sys.modules, "page", module)
    names = vars(module)
    for block in blocks(page):
        exec(compile(block, page, "exec"), names)
    assert not list(tmp_path.iterdir())
    check = CHECKS.get(page)
    if check is not None:
        check(names)


def check_readme(names):
    X = names["X"]
    pca = make_pipeline(StandardScaler(), PCA(8)).fit(X)
    assert names["codes"].shape == (len(X), 8)
    by_pca = ((pca.inverse_transform(pca.transform(X)) - X) ** 2).mean()
    assert ((names["X_hat"] - X) ** 2).mean() < by_pca


def check_variants(names):
    X = names["X"]
    assert names["fraction_of_zeros"] > 0.5
    assert np.isfinite(names["filled"]).all()
    assert names["draws"].std(axis=0)[0, 1] > 0
    assert np.abs(names["new_rows"].mean(0) - X.mean(0)).max() < 0.4
    assert 1.8 < np.median(names["dimension"]) < 4.5  # nearer to 2 after a whole training


def check_missing_values(names):
    observed = ~np.isnan(names["X_missing"][100:])
    assert np.isfinite(names["X_filled"]).all()
    assert (names["uncertainty"][observed] < 1e-12).all()
    assert (names["uncertainty"][~observed] > 1e-12).mean() > 0.9
    assert names["report"]["gain"].mean() > 0.2
    assert not names["complete"].isna().any().any()
    assert names["complete"].dtypes.equals(names["table"].dtypes)
    assert (names["accuracy"][["species", "wide"]] > 0.8).all()
    assert names["predicted"].shape == (50,)
    complete = LinearRegression().fit(names["X"][:100, :3], names["y"][:100]).coef_
    pooled = names["pooled"]
    assert np.all((pooled.low[:3] < complete) & (complete < pooled.high[:3]))
    assert names["pooled_means"].estimate.shape == (4,)


def check_outliers(names):
    is_benign = np.repeat([True, False], [300, 20])
    assert (names["verdict"][is_benign] == 1).mean() > 0.9
    assert (names["verdict"][~is_benign] == -1).mean() > (names["verdict"][is_benign] == -1).mean()
    assert names["contributions"].shape == names["X"].shape
    assert roc_auc_score(np.repeat([1, 0], 57), names["p"]) > 0.8
    selected = names["selected"]
    assert selected[57:].sum() > 10
    assert selected[:57].sum() <= 0.2 * selected.sum()


def check_tables(names):
    table = names["table"]
    assert names["again"].dtypes.equals(table.dtypes)
    assert (names["again"]["species"] == table["species"]).mean() > 0.8
    assert names["incomplete"].isna().sum().tolist() == [1] * 6
    assert names["contributions"].shape == table.shape
    wrong = names["swapped"]["species"] != table["species"]
    assert names["scores"][wrong].mean() < names["scores"][~wrong].mean()


def check_denoising_images(names):
    china, noisy, denoised = (names[n].astype(float) for n in ("china", "noisy", "denoised"))
    assert names["denoised"].dtype == np.uint8
    assert np.mean((denoised - china) ** 2) < 0.6 * np.mean((noisy - china) ** 2)
    missing = np.isnan(names["incomplete"])
    clean = china / 255
    filled, by_mean = names["filled"][missing], np.nanmean(names["incomplete"])
    assert np.mean((filled - clean[missing]) ** 2) < 0.3 * np.mean((by_mean - clean[missing]) ** 2)


def check_extending(names):
    X = names["X"]
    assert names["normed"].reconstruct(X).shape == X.shape
    plain = skae.Autoencoder(8, random_state=0).fit(X)
    assert names["small"].transform(X).std() < 0.9 * plain.transform(X).std()


def check_few_labels(names):
    assert names["accuracy"] > 0.8
    assert names["head"].score(names["X"][names["test"]], names["y"][names["test"]]) > 0.7
    assert names["probabilities"].shape == (names["test"].sum(), 10)
    assert names["predicted"].shape == (20, 3)


def check_search(names):
    assert names["same_digit"] > 0.85
    assert names["same_digit_reranked"] > names["same_digit"]
    assert names["accuracy"] > 0.85
    assert names["growing"].n_samples_fit_ == 1500


def check_compression(names):
    test, table, again = names["test"], names["table"], names["again"]
    np.testing.assert_array_equal(names["restored"], names["compressor"].reconstruct(test))
    assert len(names["data"]) < 10 * len(test)
    numbers = table.columns[:4]
    assert (again[numbers] - table[numbers]).abs().to_numpy().max() <= 0.05
    assert again[["species", "count"]].equals(table[["species", "count"]])
    assert again.dtypes.equals(table.dtypes)
    np.testing.assert_array_equal(names["some"], names["restored"][[3, 8]])
    (line,) = names["display"].lines_.values()
    assert (np.diff(line.get_data()) > 0).all()


def check_distributed(names):
    X, model = load_digits().data, names["model"]
    np.testing.assert_allclose(names["first_codes"], model.transform(X[:5]))
    assert names["worst"] == model.score_samples(X).argmin()
    assert 0 < names["n_outliers"] < 0.2 * len(X)
    assert names["search"].best_params_ == {"n_components": 8}


CHECKS = {
    "README.md": check_readme,
    "docs/compression.md": check_compression,
    "docs/denoising_images.md": check_denoising_images,
    "docs/distributed.md": check_distributed,
    "docs/extending.md": check_extending,
    "docs/few_labels.md": check_few_labels,
    "docs/missing_values.md": check_missing_values,
    "docs/outliers.md": check_outliers,
    "docs/retrieval.md": check_search,
    "docs/tables.md": check_tables,
    "docs/variants.md": check_variants,
}


def defaults_table():
    """Return the table of defaults as it must stand in docs/defaults.md."""
    classes = [c for c in PUBLIC if hasattr(c, "_parameter_constraints")]
    parameters = {c: inspect.signature(c).parameters for c in classes}
    names = list(dict.fromkeys(name for c in classes for name in parameters[c]))
    lines = [
        "| parameter | " + " | ".join(f"`{c.__name__}`" for c in classes) + " |",
        "|---" * (1 + len(classes)) + "|",
    ]

    def cell(parameter):
        if parameter is None:
            return ""
        required = parameter.default is inspect.Parameter.empty
        return "required" if required else f"`{parameter.default!r}`"

    for name in names:
        cells = [cell(parameters[c].get(name)) for c in classes]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_table_of_defaults_is_the_code():
    assert defaults_table() in (ROOT / "docs" / "defaults.md").read_text()


def test_budget_rule_is_quoted():
    page = (ROOT / "docs" / "defaults.md").read_text()
    rows = re.findall(r"^\| ([a-z -]+) \| (.+) \|$", page.split("budget rule")[1], re.M)
    assert len(rows) == 5
    for row in rows:
        assert " ".join(row) in " ".join(_budget.__doc__.split()), row
