"""What the documentation says is so."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import skae
from skae.tasks import _filler, _outlier
from skae.training import _budget, seeded

ROOT = Path(__file__).parent.parent
MODULES = [m.name for m in pkgutil.walk_packages(skae.__path__, "skae.")]
PUBLIC = [getattr(skae, name) for name in skae.__all__]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, monkeypatch):
    monkeypatch.setattr(_filler, "STEPS", 200)
    monkeypatch.setattr(_outlier, "STEPS", 200)
    module = importlib.import_module(name)
    with seeded(0):  # a recipe that is called by itself draws weights from torch's generator
        results = doctest.testmod(module)
    assert results.failed == 0


def test_all_is_sorted_and_true():
    assert skae.__all__ == sorted(skae.__all__)
    assert all(hasattr(skae, name) for name in skae.__all__)


@pytest.mark.parametrize("thing", PUBLIC, ids=lambda t: t.__name__)
def test_public_classes_and_methods_are_documented(thing):
    doc = inspect.getdoc(thing)
    if hasattr(thing, "get_params"):
        for section in ("Parameters", "Examples", "See Also"):
            assert f"\n{section}\n{'-' * len(section)}\n" in doc
    for name, method in inspect.getmembers(thing, inspect.isfunction):
        if method.__module__.startswith("skae") and not name.startswith("_"):
            described = inspect.getdoc(method)
            for parameter in list(inspect.signature(method).parameters)[1:]:
                assert re.search(
                    rf"(^|[ ,*]){parameter}(, \w+)* : |, {parameter} : ", described, re.M
                )
            assert "Returns\n-------" in described


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/extending.md",
        "docs/missing_values.md",
        "docs/outliers.md",
        "docs/variants.md",
    ],
)
def test_python_in_the_pages_compiles_and_runs(page, sheet, monkeypatch):
    monkeypatch.setattr(_budget, "STEPS", 400)
    monkeypatch.setattr(_filler, "STEPS", 100)
    monkeypatch.setattr(_outlier, "STEPS", 200)
    names = {"X": sheet}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S):
        exec(
            compile(
                block.replace("Autoencoder(8)", "Autoencoder(2, max_iter=2, early_stopping=False)"),
                page,
                "exec",
            ),
            names,
        )
    if page == "docs/variants.md":
        assert names["share_of_zeros"] > 0.5
        assert np.abs(names["new_rows"].mean(0) - sheet.mean(0)).max() < 0.4
        assert np.median(names["dimension"]) < 3
    if page == "docs/missing_values.md":
        known = ~np.isnan(names["holed"][300:])
        assert np.isfinite(names["filled"]).all()
        assert (names["uncertainty"][known] < 1e-12).all()
        assert (names["uncertainty"][~known] > 1e-12).mean() > 0.9
        assert names["report"]["gain"].mean() > 0.2
        assert not names["complete"].isna().any().any()
        assert names["complete"].dtypes.equals(names["table"].dtypes)
        assert (names["accuracy"][["size", "heavy"]] > 0.8).all()
        assert names["predicted"].shape == (100,)
        within = names["pooled"].low[:2] < [1, -1], names["pooled"].high[:2] > [1, -1]
        assert np.all(within)
        assert names["pooled_means"].estimate.shape == (6,)
    if page == "docs/outliers.md":
        assert names["share"].shape == sheet.shape
        assert len(names["p"]) == 5
    if page == "docs/extending.md":
        small = names["SmallCode"](2, alpha=10.0, max_iter=30, random_state=0).fit(sheet)
        plain = skae.Autoencoder(2, max_iter=30, random_state=0).fit(sheet)
        assert small.transform(sheet).std() < 0.5 * plain.transform(sheet).std()
        normed = skae.Autoencoder(2, architecture=names["Normed"](), max_iter=60, random_state=0)
        normed.fit(sheet)
        assert normed.reconstruct(sheet).shape == sheet.shape


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
    for row in re.findall(r"^\| ([a-z ]+) \| (.+) \|$", page.split("budget rule")[1], re.M):
        assert " ".join(row) in " ".join(_budget.__doc__.split()), row
