"""The layout of the package: which module may import which, and how long files may be."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "skae").rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 45

# From the ground up: a module imports from its own layer and from those above it in this list.
LAYERS = [
    {
        *("hyperparameters", "exceptions", "_validation", "_numeric_input", "_dataframes"),
        *(
            "_sklearn",
            "_sklearn_types",
            "_schema",
            "_encoding",
            "_file_format",
            "_warnings",
            "_lock",
        ),
    },
    {"losses", "architectures"},
    {"data"},
    {"training"},
    {"batched"},
    {
        *("_training_parameters", "_hooks", "_fit_identity", "_fit_start", "_fitting"),
        *("_fitted_state", "_callbacks", "_composite"),
    },
    {"_inference", "base", "_persistence"},
    {"tables"},
    {"autoencoders"},
    {
        *("outlier", "impute", "multiple_imputation", "semi_supervised", "images"),
        *("compression", "retrieval"),
    },
    {"inspection", "metrics", "model_selection", "_check_autoencoder", "extension"},
    {"displays", "onnx", "dask"},
]


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in SOURCES}


@cache
def imports(module):
    """Return the modules of skae that a module imports, anywhere in its source."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in MODULES}


def test_no_module_imports_itself_through_others():
    """Imports inside functions and for type checkers included."""
    graph = {module: imports(module) for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("circle of imports: " + " <- ".join(error.args[1]))


def layer(module):
    """Return the number of the layer of a module."""
    name = module.split(".")[1]
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert len(found) == 1, f"{module} has no layer; add it to LAYERS"
    return found[0]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"skae"}))
def test_imports_go_down(module):
    up = [name for name in imports(module) if name == "skae" or layer(name) > layer(module)]
    assert not up, f"{module} imports {', '.join(sorted(up))}, which are above it"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_private_modules_are_imported_in_their_own_package_only(module):
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    strange = [
        name
        for name in imports(module)
        if name.rpartition(".")[2].startswith("_")
        and not f"{package}.".startswith(f"{name.rpartition('.')[0]}.")
    ]
    assert not strange, f"{module} imports {', '.join(sorted(strange))}: import from the package"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_are_short(module):
    n_lines = len(MODULES[module].read_text().splitlines())
    assert n_lines <= MAX_FILE_LINES, f"{module} has {n_lines} lines"


def lines_of_code(function, text):
    """Count the lines of a function without docstring, comments and blank lines."""
    first = function.body[0]
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    doc = range(first.lineno, first.end_lineno + 1) if body is not function.body else ()
    lines = enumerate(text[function.lineno - 1 : function.end_lineno], function.lineno)
    return sum(
        number not in doc and line.strip() != "" and not line.strip().startswith("#")
        for number, line in lines
    )


@pytest.mark.parametrize("module", sorted(MODULES))
def test_functions_are_short(module):
    source = MODULES[module].read_text()
    text = source.splitlines()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, functions)]
    long = {f.name: n for f in found if (n := lines_of_code(f, text)) > MAX_FUNCTION_LINES}
    assert not long, f"{module}: lines of code per function {long}"
