"""What is installed and shipped."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import skae
from skae import hyperparameters

ROOT = Path(__file__).parent.parent
ESTIMATORS = [c for n in skae.__all__ if hasattr(c := getattr(skae, n), "get_params")]


def pages():
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.full
def test_in_a_new_process_submodules_are_lazy_and_the_first_fit_leaves_warning_filters():
    """Torch's first optimiser imports what adds a filter."""
    script = """
import sys, warnings, numpy as np, skae
lazy = {"dask", "displays", "extension", "inspection", "metrics", "model_selection", "onnx"}
assert lazy <= set(dir(skae))
assert not {f"skae.{name}" for name in lazy} & set(sys.modules)
assert not {"onnx", "onnxscript", "skl2onnx"} & set(sys.modules)
before = list(warnings.filters)
skae.Autoencoder(1, max_iter=1, early_stopping=False).fit(np.eye(4))
assert warnings.filters == before
for name in lazy:
    assert getattr(skae, name) is sys.modules[f"skae.{name}"]
assert "matplotlib" not in sys.modules  # until something is drawn
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_unknown_attributes_are_refused_as_by_any_module():
    for module, name in [(skae, "Autoencodr"), (skae.metrics, "variance")]:
        with pytest.raises(AttributeError) as refused:
            getattr(module, name)
        assert str(refused.value) == f"module {module.__name__!r} has no attribute {name!r}"
        assert (refused.value.name, refused.value.obj) == (name, module)
    assert not hasattr(skae, "__wrapped__")


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_html_links_to_the_documentation_once_it_has_a_url(cls, monkeypatch):
    estimator = cls.__new__(cls)
    assert estimator._get_doc_link() == ""
    monkeypatch.setattr(
        hyperparameters, "DOCUMENTATION_URL", "https://docs.test/{estimator_name}.html"
    )
    assert estimator._get_doc_link() == f"https://docs.test/{cls.__name__}.html"


def test_html_of_estimators_defined_elsewhere_does_not_link(monkeypatch):
    monkeypatch.setattr(
        hyperparameters, "DOCUMENTATION_URL", "https://docs.test/{estimator_name}.html"
    )

    class Own(skae.Autoencoder):
        pass

    assert 'href="https://docs.test/Autoencoder.html"' in skae.Autoencoder()._repr_html_()
    assert "docs.test" not in Own()._repr_html_()


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Return the folder of an unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    (archive,) = SdistBuilder(str(ROOT)).build(directory=str(folder))
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / Path(archive).name.removesuffix(".tar.gz")


def test_sdist_holds_what_the_pages_link_to(sdist):
    for page in pages():
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (sdist / page.parent.relative_to(ROOT) / link).is_file(), (page.name, link)


def test_files_that_the_guide_for_contributors_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    names = set(re.findall(r"`((?:skae|tests|docs)/[\w/.]+)`", text)) - {
        "skae/autoencoders/_my_variant.py",
        "tests/autoencoders/test_my_variant.py",
    }
    assert len(names) > 20
    assert not sorted(name for name in names if not (ROOT / name).exists())


def test_guide_for_contributors_and_makefile_name_the_same_targets():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.* ## ", makefile, re.M))
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split()
    assert targets == set(phony)
    text = "".join(page.read_text() for page in pages())
    commands = {c for line in re.findall(r"\bmake ([a-z -]+)", text) for c in line.split()[:2]}
    assert {"coverage", "lint", "types", "conformance", "lowest"} <= commands & targets


@pytest.mark.parametrize("path", ["CITATION.cff", ".github/workflows/tests.yml"])
def test_version_and_pythons_agree(path):
    text = (ROOT / path).read_text()
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    pythons = [c.rpartition(" ")[2] for c in classifiers if re.search(r" 3\.\d+$", c)]
    expected = [f'"{p}"' for p in pythons] if "workflows" in path else [skae.__version__]
    assert all(word in text for word in expected)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_commands_of_the_pages_can_be_run_in_the_sdist(sdist):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    text = "".join(page.read_text() for page in pages())
    commands = set(re.findall(r"\bmake ([a-z-]+)", text)) & set(targets)
    assert {"demo", "test"} <= commands
    planned = subprocess.run(
        ["make", "--dry-run", *commands], cwd=sdist, check=True, capture_output=True, text=True
    )
    files = re.findall(r"\S+\.(?:py|txt)\b", planned.stdout)
    assert {"benchmarks/pca.py", "constraints.txt"} <= set(files)
    assert all((sdist / file).is_file() for file in files)


def test_wheel_holds_the_package_and_its_types(tmp_path):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "skae").rglob("*.py")}
    assert sources | {"skae/py.typed"} == {n for n in names if ".dist-info/" not in n}


def test_lower_bounds_are_the_tested_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = project["dependencies"] + sorted(chain(*project["optional-dependencies"].values()))
    tested = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    assert {bound.replace(">=", "==") for bound in bounds} <= set(tested)
