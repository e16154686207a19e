"""Hyperparameters declared once: default, constraint and documentation.

``@hyperparameters`` turns the declarations in a class body into the explicit keyword ``__init__``
that scikit-learn introspects, into ``_parameter_constraints``, and into the *Parameters* section
of the docstring, inherited declarations included::

    @hyperparameters
    class Ridge(BaseEstimator):
        \"\"\"Least squares with a penalty.

        Parameters
        ----------
        {parameters}
        \"\"\"

        alpha: float = param(NON_NEGATIVE, default=1.0, doc="Weight of the penalty.")
"""  # noqa: D214, D215  an example within the docstring

from __future__ import annotations

import textwrap
from dataclasses import MISSING, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, TypeVar, dataclass_transform

import numpy as np

from skae._sklearn import Interval, MissingValues, StrOptions, make_constraint

# Where HTML representations link to: the URL of a class's page in the documentation, with
# ``{estimator_name}`` for the name of the class. Empty, there are no links.
DOCUMENTATION_URL = ""

C = TypeVar("C", bound=type)


class IntegerInterval(Interval):
    """An interval of integers without the booleans, which Python counts among them."""

    def is_satisfied_by(self, val: Any) -> bool:
        return not isinstance(val, bool) and super().is_satisfied_by(val)


POSITIVE_INT = IntegerInterval(Integral, 1, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
NON_NEGATIVE = Interval(Real, 0, None, closed="left")
FRACTION = Interval(Real, 0, 1, closed="neither")


def one_of(*names: str) -> StrOptions:
    """Return the constraint that a parameter is one of these strings.

    Parameters
    ----------
    *names : str
        The strings.

    Returns
    -------
    constraint : object
        The constraint, for `param`.

    Examples
    --------
    >>> from skae.extension import one_of
    >>> one_of("mean", "median").is_satisfied_by("mean")
    True
    """
    return StrOptions(set(names))


def param(*constraints: Any, default: Any = MISSING, doc: str, kw_only: bool = True) -> Any:
    """Declare a hyperparameter inside a class decorated by `hyperparameters`.

    Parameters
    ----------
    *constraints : object
        Alternatives, each as in scikit-learn's ``_parameter_constraints``.
    default : object
        An immutable default; by name, for type checkers to see that there is one. Without one, the
        parameter must be given.
    doc : str
        What the parameter does, as it stands in the docstring.
    kw_only : bool, default=True
        Whether it must be given by its name.

    Returns
    -------
    declaration : object
        The value to assign in the body of the class.

    Examples
    --------
    >>> from skae.extension import FRACTION, hyperparameters, param
    >>> @hyperparameters
    ... class Share:
    ...     quantile: float = param(FRACTION, default=0.5, doc="The quantile.")
    >>> Share().quantile
    0.5
    """
    return field(
        default=default,
        kw_only=kw_only,
        metadata={"constraints": list(constraints), "doc": textwrap.dedent(doc).strip()},
    )


@dataclass_transform(kw_only_default=True, field_specifiers=(param,))
def hyperparameters(cls: C) -> C:
    """Derive ``__init__``, ``_parameter_constraints``, docstring and link to the documentation.

    Parameters
    ----------
    cls : type
        Class whose body declares hyperparameters by `param`.

    Returns
    -------
    cls : type
        The same class.

    Examples
    --------
    >>> import inspect
    >>> from sklearn.base import BaseEstimator
    >>> from skae.extension import NON_NEGATIVE, hyperparameters, param
    >>> @hyperparameters
    ... class Ridge(BaseEstimator):
    ...     alpha: float = param(NON_NEGATIVE, default=1.0, doc="Weight of the penalty.")
    >>> Ridge(alpha=2.0)
    Ridge(alpha=2.0)
    """
    made: Any = dataclass(eq=False, repr=False, match_args=False)(cls)
    declared = sorted(fields(made), key=lambda f: bool(f.kw_only))
    made._parameter_constraints = {f.name: f.metadata["constraints"] for f in declared}
    made._doc_link_module = "skae"
    made._doc_link_template = property(lambda self: DOCUMENTATION_URL)
    if made.__doc__:
        parts = getattr(made, "_doc_parts", {})
        entries = "\n".join(map(_entry, sorted(declared, key=lambda f: _doc_order(made, f))))
        made.__doc__ = splice(made.__doc__, parameters=entries, **parts)
    return made


def splice(doc: str, **parts: str) -> str:
    """Replace each line that is only ``{name}`` by the part of that name, at its indentation."""
    lines = []
    for line in doc.splitlines():
        part = parts.get(line.strip()[1:-1]) if line.strip().startswith("{") else None
        if part is None:
            lines.append(line)
        else:
            lines.append(textwrap.indent(part, line[: len(line) - len(line.lstrip())]))
    return "\n".join(lines)


def _doc_order(cls: type, declared: Any) -> tuple[bool, int]:
    """Sort positional parameters first, then those of the class before those of its bases."""
    ranks = [
        rank
        for rank, base in enumerate(cls.__mro__)
        if declared.name in vars(base).get("__dataclass_fields__", ())
    ]
    return bool(declared.kw_only), ranks[-1]


def _entry(declared: Any) -> str:
    """Return the numpydoc entry of a parameter."""
    constraints = declared.metadata["constraints"]
    kinds = dict.fromkeys(kind for c in constraints for kind in _kinds(c))
    *others, last = sorted(kinds, key=lambda kind: (kind == "None") - kind.startswith("{"))
    kind = f"{', '.join(others)} or {last}" if others else last
    text = textwrap.indent(declared.metadata["doc"], "    ")
    default = "" if declared.default is MISSING else f", default={_shown(declared.default)}"
    return f"{declared.name} : {kind}{default}\n{text}"


def _shown(default: Any) -> str:
    return "np.nan" if default is np.nan else repr(default)


def _kinds(constraint: Any) -> list[str]:
    """Return the types that a constraint allows, as numpydoc writes them."""
    named = {
        "boolean": ["bool"],
        "random_state": ["int", "RandomState instance", "None"],
        "verbose": ["int"],
        None: ["None"],
    }
    if isinstance(constraint, (str, type(None))) and constraint in named:
        return named[constraint]
    if isinstance(constraint, type):
        return [constraint.__name__]
    if isinstance(constraint, StrOptions):
        return ["{" + ", ".join(f"'{name}'" for name in sorted(constraint.options)) + "}"]
    if isinstance(constraint, MissingValues):
        return ["int", "float", "str", "np.nan", "pandas.NA", "None"]
    text = str(make_constraint(constraint)).replace(" the range", "")
    return [text.removeprefix("an ").removeprefix("a ")]
