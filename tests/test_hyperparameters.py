import inspect
import pickle
import re
from dataclasses import fields

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

import skae
from skae._sklearn import HasMethods, MissingValues
from skae._training_parameters import TrainingParameters
from skae.hyperparameters import (
    FRACTION,
    NON_NEGATIVE,
    POSITIVE_INT,
    hyperparameters,
    one_of,
    param,
)


@hyperparameters
class Parent(BaseEstimator):
    """Parent.

    Parameters
    ----------
    {parameters}
    """

    size: int = param(POSITIVE_INT, default=2, kw_only=False, doc="How many.")
    kind: str = param(one_of("a", "b"), None, default="a", doc="Which.")


@hyperparameters
class Child(Parent):
    """Child.

    Parameters
    ----------
    {parameters}
    """

    kind: str = param(one_of("b"), default="b", doc="Which now.")
    alpha: float = param(
        NON_NEGATIVE,
        default=0.5,
        doc="""
        How much, and
        a second line.""",
    )


def test_signature_is_explicit_and_inherits():
    parameters = inspect.signature(Child).parameters
    assert list(parameters) == ["size", "kind", "alpha"]
    assert parameters["size"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert parameters["alpha"].kind is inspect.Parameter.KEYWORD_ONLY
    assert Child(3).get_params() == {"size": 3, "kind": "b", "alpha": 0.5}
    assert Parent().get_params() == {"size": 2, "kind": "a"}


def test_constraints_and_clone_and_equality():
    assert set(Child._parameter_constraints) == {"size", "kind", "alpha"}
    with pytest.raises(ValueError, match="'alpha' parameter of Child must be a float in the range"):
        Child(alpha=-1.0)._validate_params()
    a = Child(alpha=1.0)
    assert clone(a).alpha == 1.0
    assert a == a
    assert a != Child(alpha=1.0)
    assert pickle.loads(pickle.dumps(a)).alpha == 1.0


def test_docstring_holds_every_parameter_with_default_and_constraint():
    assert "    size : int in [1, inf), default=2\n        How many." in Child.__doc__
    assert "    kind : {'b'}, default='b'\n        Which now." in Child.__doc__
    assert (
        "    alpha : float in [0.0, inf), default=0.5\n        How much, and\n        a second"
        in (Child.__doc__)
    )
    assert "kind : {'a', 'b'} or None, default='a'" in Parent.__doc__


@pytest.mark.parametrize(
    ("constraints", "default", "expected"),
    [
        (("boolean",), True, "bool, default=True"),
        (("verbose",), 0, "int, default=0"),
        (("random_state",), None, "int, RandomState instance or None, default=None"),
        ((None, POSITIVE_INT), None, "int in [1, inf) or None, default=None"),
        ((POSITIVE_INT, one_of("auto")), "auto", "{'auto'} or int in [1, inf), default='auto'"),
        (("array-like", FRACTION, None), None, "array-like, float in (0.0, 1.0) or None"),
        ((HasMethods(["fit"]), None), None, "object implementing 'fit' or None, default=None"),
        ((callable, str), "f", "callable or str, default='f'"),
        (
            (MissingValues(),),
            np.nan,
            "int, float, str, np.nan, pandas.NA or None, default=np.nan",
        ),
    ],
)
def test_types_are_rendered_as_numpydoc_writes_them(constraints, default, expected):
    @hyperparameters
    class One(BaseEstimator):
        """One.

        {parameters}
        """

        value: object = param(*constraints, default=default, doc="A value.")

    assert f"value : {expected}" in One.__doc__


def documented(cls):
    """Return the names of the parameters in the order of the docstring."""
    section = inspect.getdoc(cls).split("\nParameters\n")[1].split("\nAttributes\n")[0]
    return re.findall(r"^(\w+) : ", section, re.M)


def test_a_class_documents_its_own_parameters_before_those_of_its_bases():
    assert documented(Child) == ["size", "alpha", "kind"]
    names = documented(skae.DenoisingAutoencoder)
    assert names[:3] == ["n_components", "noise", "noise_level"]
    training = {f.name for f in fields(TrainingParameters)} - {"n_components"}
    assert set(names[-len(training) :]) == training
    assert set(names) == set(inspect.signature(skae.DenoisingAutoencoder).parameters)


@pytest.mark.parametrize("name", [n for n in skae.__all__ if hasattr(getattr(skae, n), "fit")])
def test_no_placeholder_is_left_in_public_docstrings(name):
    assert "{parameters}" not in getattr(skae, name).__doc__
    assert "{attributes}" not in getattr(skae, name).__doc__
