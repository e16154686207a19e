"""Parameters of the imputer."""

from __future__ import annotations

from typing import Any

import numpy as np

from skae._sklearn import MissingValues
from skae.base import BaseAutoencoder
from skae.hyperparameters import POSITIVE_INT, hyperparameters, one_of, param


@hyperparameters
class ImputerParameters:
    """Parameters of `AutoencoderImputer`.

    Parameters
    ----------
    {parameters}
    """

    estimator: Any = param(
        BaseAutoencoder,
        None,
        default=None,
        kw_only=False,
        doc="""
        Autoencoder that imputes missing values by its reconstruction: of the incomplete row, and
        then, five times, of the completed row. A `VariationalAutoencoder` imputes by its
        ``conditional_mean``. If None, the network described above is used.""",
    )
    missing_values: Any = param(
        MissingValues(),
        default=np.nan,
        doc="Placeholder of the missing values, in addition to NaN, None and NA.",
    )
    add_indicator: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether ``transform`` appends a missing indicator for each column that had missing values
        in ``fit``; its dtype is bool in a DataFrame.""",
    )
    keep_empty_features: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether columns without any value in ``fit`` are kept: imputed by 0 if they are numbers,
        unchanged otherwise.""",
    )
    mechanism: str = param(
        one_of("auto", "mar"),
        default="auto",
        doc="""
        Assumed mechanism of the missing values. 'mar' (missing at random): the probability that a
        value is missing does not depend on it, given the observed values of the row. 'auto': it
        does in the columns in which this explains best which values are missing (see Notes).""",
    )
    clip: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether imputed values are clipped to the range of the column. Values that are determined
        by the other columns may leave that range, at most by its width.""",
    )
    max_iter: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        How often the network is trained on each row, if ``estimator`` is None. 'auto' corresponds
        to about 3,000 gradient steps of 128 rows, but at least 4 and at most 500 times. It also
        limits the iterations of EM and of the metrics.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Seed of the training. If None, the ``random_state`` of ``estimator`` is left unchanged.""",
    )
