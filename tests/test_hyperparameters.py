import inspect
import pickle

import pytest
from sklearn.base import BaseEstimator, clone

import skae
from skae.hyperparameters import NON_NEGATIVE, POSITIVE_INT, hyperparameters, one_of, param


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
    assert "    kind : 'b', default='b'\n        Which now." in Child.__doc__
    assert (
        "    alpha : float in [0.0, inf), default=0.5\n        How much, and\n        a second"
        in (Child.__doc__)
    )
    assert "kind : {'a', 'b'} or None, default='a'" in Parent.__doc__


@pytest.mark.parametrize("name", [n for n in skae.__all__ if hasattr(getattr(skae, n), "fit")])
def test_no_placeholder_is_left_in_public_docstrings(name):
    assert "{parameters}" not in getattr(skae, name).__doc__
    assert "{attributes}" not in getattr(skae, name).__doc__
