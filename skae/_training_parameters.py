"""The parameters of training, which every autoencoder has, and what every fit leaves behind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from skae._sklearn import Interval, RealNotInt
from skae.hyperparameters import (
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    POSITIVE_INT,
    hyperparameters,
    one_of,
    param,
)
from skae.training import SCHEDULES

FITTED = """
module_ : torch.nn.Module
    The trained module, in conditioned units and evaluation mode.
architecture_ : object
    The recipe that built its networks; None without networks.
n_components_ : int
    Number of components that ``n_components`` resulted in.
mean_ : ndarray of shape (n_features,)
    Weighted mean of the observed training values of each column, in X's dtype; 0 where there are
    none.
scale_ : float
    Square root of the columns' mean variance. Training sees ``(X - mean_) / scale_``.
n_iter_ : int
    Epochs that were run; 1 where the start is the optimum, so that none was.
best_epoch_ : int
    Epoch whose weights were kept; 0 is the start. Where a fit went on, epochs are counted from the
    first one, as the curves are.
loss_curve_ : list of float
    Mean training loss of each epoch, former fits' included where this one went on. Squared errors
    are in squared units of ``scale_``, so that reconstruction by the mean has 1.
loss_terms_ : dict of str to list of float
    The terms of the training loss by name, each as ``loss_curve_``, which is their sum:
    'reconstruction', and where there is one, 'penalty', 'divergence' or another.
validation_loss_curve_ : list of float or None
    Mean loss of the held-out rows after each epoch; NaN where a fit that went on held out none,
    None where none ever did.
n_features_in_ : int
    Columns seen by ``fit``.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Their names; only if X had names that are all strings.
""".strip()

N_COMPONENTS = (POSITIVE_INT, Interval(RealNotInt, 0, 1, closed="neither"), None)
N_COMPONENTS_DOC = """
Number of components: of columns that ``transform`` returns. A float between 0 and 1 is a
share of the variance: as many components as principal ones are needed to explain more than
it, as in PCA. None is the smaller one of the numbers of samples and of features. Both are
resolved by the rows of the first fit; a fit that goes on keeps ``n_components_``.
""".strip()


@hyperparameters
class TrainingParameters:
    """How an autoencoder is trained.

    Parameters
    ----------
    {parameters}
    """

    _doc_parts = {"attributes": FITTED}  # noqa: RUF012

    n_components: int | float | str | None = param(
        *N_COMPONENTS, default=2, kw_only=False, doc=N_COMPONENTS_DOC
    )
    max_iter: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Epochs: passes over the training rows, at most. 'auto' takes as many as make about 4,000
        gradient steps, and at least 20.""",
    )
    batch_size: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Rows per gradient step. 'auto' is a sixteenth of the training rows, at least 16 and at
        most 128.""",
    )
    learning_rate: float = param(POSITIVE, default=3e-3, doc="Step size of the optimiser (Adam).")
    schedule: str = param(
        one_of(*SCHEDULES),
        default="cosine",
        doc="""
        Course of the learning rate over ``max_iter`` epochs: 'cosine' falls to zero along half a
        cosine, 'linear' along a line, 'warm_up_cosine' rises over the first tenth before it does;
        'constant' stays.""",
    )
    weight_decay: float = param(
        NON_NEGATIVE,
        default=0.0,
        doc="""
        Share of every weight, times the learning rate, that each step takes away (AdamW).""",
    )
    early_stopping: bool | str = param(
        "boolean",
        one_of("auto"),
        default="auto",
        doc="""
        Whether to hold out rows, keep the epoch whose loss on them is lowest, and stop when it no
        longer falls. After a start at PCA, an epoch is kept only if its gain is more than three
        standard errors, row by row. 'auto' does so from 8 rows on. Without, all epochs are
        run and the last is kept.""",
    )
    validation_fraction: float = param(
        FRACTION,
        default=0.1,
        doc="""
        Share of the rows to hold out; 64 rows if that is more, but at most a quarter of them.""",
    )
    n_iter_no_change: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Epochs in a row without improvement on the held-out rows after which to stop. 'auto' is
        30 % of ``max_iter``.""",
    )
    tol: float = param(
        NON_NEGATIVE,
        default=1e-4,
        doc="""
        Share of the lowest held-out loss by which a loss must be lower to count as improvement
        for ``n_iter_no_change``.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Determines the initial weights, the rows held out, their order and any noise. Pass an int
        for the same result, to the bit, at each call on one machine with one number of threads.
        None is different at each call, and leaves numpy's global generator alone.""",
    )
    warm_start: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether ``fit`` goes on from where the last fit ended: its weights, its conditioning and
        the optimiser's moments.""",
    )
    verbose: int = param("verbose", default=0, doc="1 prints a line per epoch.")
    device: str = param(
        str,
        default="auto",
        doc="""
        Where to train and answer: 'cpu', 'cuda', 'cuda:1', 'mps' or another of torch's. 'auto' is
        'cuda' where there is one, else 'cpu'.""",
    )
    precision: str = param(
        one_of("full", "bf16"),
        default="full",
        doc="""
        Of training: 'full' is torch's default dtype, 'bf16' computes layers in bfloat16 by
        autocast and keeps weights in full.""",
    )
    checkpoint: str | os.PathLike[str] | None = param(
        str,
        os.PathLike,
        None,
        default=None,
        doc="""
        File in which ``fit`` notes its state, about once a second, and from which the same fit of
        the same rows goes on if it was killed: to the same bits, on one machine with one number
        of threads. ``partial_fit`` does not use it.""",
    )
    net_params: Mapping[str, Any] | None = param(
        Mapping,
        None,
        default=None,
        doc="""
        Further arguments of ``skorch.NeuralNet``, such as ``callbacks``, ``optimizer`` (a class,
        or a name in ``torch.optim``) or ``optimizer__betas``; they win over skae's own.""",
    )
