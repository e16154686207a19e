"""Public docstrings are complete, as numpydoc checks them."""

import importlib
import inspect

import pytest
from numpydoc.validate import validate

from tests.test_docs import PUBLIC_MODULES, public_objects

CHECKS = {
    "GL08": "there is a docstring",
    "SS01": "with a summary",
    "SS02": "that starts with a capital letter",
    "SS03": "and ends with a period",
    "SS04": "without leading spaces",
    "SS05": "in the imperative",
    "PR01": "every parameter is documented",
    "PR02": "and no other",
    "PR04": "with its type",
    "PR07": "and a description",
    "PR10": "and a space before its colon",
    "RT01": "a returned value is documented",
    "RT03": "with a description",
    "YD01": "as is what a generator yields",
}

EXCEPT = {
    "skae._hooks.Hooks": "PR01",  # its hyperparameters are those of its subclasses
    # numpydoc takes the argument of a decorator of classes for that of a class method.
    "skae._schema.persistent": "PR02",
    "skae.hyperparameters.hyperparameters": "PR02",
    "skae.losses.register_loss": "PR02",
}


def documented():
    """Return the path of each public docstring: those of classes, functions and own methods.

    A method that overrides another one without a docstring inherits its docstring.
    """
    paths = set()
    for thing in public_objects().values():
        paths.add(f"{thing.__module__}.{thing.__qualname__}")
        for owner in inspect.getmro(thing) if inspect.isclass(thing) else ():
            if owner.__module__.startswith("skae"):
                paths |= {
                    f"{owner.__module__}.{owner.__qualname__}.{name}"
                    for name, value in vars(owner).items()
                    if not name.startswith("_")
                    and callable(getattr(value, "__func__", value))
                    and not inspect.isclass(value)
                    and (getattr(owner, name).__doc__ or not inspect.getdoc(getattr(owner, name)))
                }
    return sorted(paths)


@pytest.mark.parametrize("path", documented())
def test_docstring_is_complete(path):
    checks = set(CHECKS) - {EXCEPT.get(path)}
    errors = [f"{code}: {text}" for code, text in validate(path)["errors"] if code in checks]
    assert not errors


def test_every_public_class_and_function_has_an_example():
    docs = {name: inspect.getdoc(thing) for name, thing in public_objects().items()}
    assert not [name for name, doc in docs.items() if "\nExamples\n" not in doc]


@pytest.mark.parametrize("suffix", PUBLIC_MODULES)
def test_every_public_module_says_what_it_is(suffix):
    module = importlib.import_module(f"skae{suffix}")
    assert module.__doc__.splitlines()[0].endswith(".")
