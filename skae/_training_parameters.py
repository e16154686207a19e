"""The parameters of training and the fitted attributes that all autoencoders share."""

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
    The architecture that built its networks; None without networks.
n_components_ : int
    Number of components that ``n_components`` resulted in.
mean_ : ndarray of shape (n_features,)
    Weighted mean of the observed training values of each column, in X's dtype; 0 for a column
    without observed values.
scale_ : float
    Square root of the mean variance of the columns. The networks are trained on
    ``(X - mean_) / scale_``.
n_iter_ : int
    Number of epochs that were run; 1 if none was, because the start is the optimum.
best_epoch_ : int
    Epoch whose weights were kept; 0 is the start. After a resumed fit, epochs are counted from the
    first fit, as in the loss curves.
loss_curve_ : list of float
    Mean training loss of each epoch, including those of the fits that this one resumed. Squared
    errors are divided by ``scale_ ** 2``, so that reconstruction by the mean has a loss of 1.
loss_terms_ : dict of str to list of float
    Terms of the training loss by name, each with one value per epoch; ``loss_curve_`` is their
    sum. 'reconstruction' and, depending on the variant, others such as 'penalty' or
    'divergence'.
validation_loss_curve_ : list of float or None
    Mean loss of the validation samples after each epoch; NaN for epochs of a resumed fit without
    validation samples; None if there never were any.
initial_validation_loss_ : float or None
    Mean loss of the validation samples before the first epoch: the loss of PCA where training
    starts there. None if the first fit had no validation samples.
n_features_in_ : int
    Number of features seen during ``fit``.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of features seen during ``fit``; defined only if all names are strings.
""".strip()

N_COMPONENTS = (POSITIVE_INT, Interval(RealNotInt, 0, 1, closed="neither"), None)
N_COMPONENTS_DOC = """
Number of components, that is, of columns that ``transform`` returns. A float between 0 and 1
is a fraction of the variance: as many components as principal components are needed to
explain more than that fraction, as in PCA. If None, the minimum of the numbers of samples and
features. Both are resolved by the samples of the first fit; a resumed fit keeps
``n_components_``.
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
        Maximum number of epochs (passes over the training samples). 'auto' is the number that
        makes about 4,000 gradient steps, and at least 20 (10 with `Conv`).""",
    )
    batch_size: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Number of samples per gradient step. 'auto' is a sixteenth of the training samples, at
        least 16 and at most 128.""",
    )
    learning_rate: float = param(POSITIVE, default=3e-3, doc="Initial learning rate (Adam).")
    schedule: str = param(
        one_of(*SCHEDULES),
        default="cosine",
        doc="""
        Learning rate schedule over ``max_iter`` epochs: 'cosine' decreases to zero along half a
        cosine, 'linear' along a line; 'warm_up_cosine' increases linearly over the first tenth and
        then decreases as 'cosine' does; 'constant' keeps the learning rate.""",
    )
    weight_decay: float = param(
        NON_NEGATIVE,
        default=0.0,
        doc="Decoupled weight decay coefficient (AdamW).",
    )
    early_stopping: bool | str = param(
        "boolean",
        one_of("auto"),
        default="auto",
        doc="""
        Whether to hold out validation samples, keep the epoch with the lowest validation loss, and
        stop when it no longer decreases. After a start at PCA, an epoch is kept only if its mean
        improvement per sample is more than three standard errors. 'auto' is True from 8 samples
        on. If False, all epochs are run and the last one is kept.""",
    )
    validation_fraction: float = param(
        FRACTION,
        default=0.1,
        doc="""
        Fraction of the samples to hold out for validation; at least 64 samples, but at most a
        quarter of them.""",
    )
    n_iter_no_change: int | str = param(
        POSITIVE_INT,
        one_of("auto"),
        default="auto",
        doc="""
        Number of consecutive epochs without improvement of the validation loss after which
        training stops. 'auto' is 30 % of ``max_iter``; half of it, but at least 600 steps, while no
        epoch is better than the start and the last one is worse.""",
    )
    tol: float = param(
        NON_NEGATIVE,
        default=1e-4,
        doc="""
        Minimum relative decrease of the validation loss that resets the ``n_iter_no_change``
        counter.""",
    )
    n_init: int = param(
        POSITIVE_INT,
        default=1,
        doc="""
        Number of trainings from different initial weights, all at once where possible, see
        `skae.batched`. That with the lowest validation loss is kept; without early stopping, that
        with the lowest loss in the last epoch. Callbacks are notified of the first one. Further
        training, by ``warm_start`` or ``partial_fit``, continues the one that was kept.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Determines the initial weights, the validation samples, the order of the samples and any
        noise. Pass an int for results that are reproducible to the bit on one machine with one
        number of threads. If None, results differ between calls; numpy's global generator is not
        used.""",
    )
    warm_start: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether ``fit`` resumes from the end of the last fit: with its weights, its conditioning
        and the moments of the optimiser.""",
    )
    verbose: int = param("verbose", default=0, doc="If 1, print a line per epoch.")
    device: str = param(
        str,
        default="auto",
        doc="""
        Device of torch for training and inference, such as 'cpu', 'cuda', 'cuda:1' or 'mps'. 'auto'
        is 'cuda' if available, else 'cpu'.""",
    )
    precision: str = param(
        one_of("full", "bf16"),
        default="full",
        doc="""
        Precision of training: 'full' is torch's default dtype; 'bf16' computes layers in bfloat16
        by autocast and keeps the weights in full precision.""",
    )
    distributed: bool | str = param(
        "boolean",
        one_of("auto"),
        default="auto",
        doc="""
        Whether ``fit`` takes part in training in several processes, which compute a part of each
        batch each: those of the default process group of torch.distributed, or those that a
        launcher such as ``torchrun`` started. 'auto' does so where there are any; True raises an
        error if there are none. Each process calls ``fit`` with the same arguments.""",
    )
    checkpoint: str | os.PathLike[str] | None = param(
        str,
        os.PathLike,
        None,
        default=None,
        doc="""
        File to which ``fit`` saves its state about once a second. If the process is killed, the
        same fit of the same samples resumes from it, with bitwise equal results on one machine with
        one number of threads. ``partial_fit`` does not use it.""",
    )
    net_params: Mapping[str, Any] | None = param(
        Mapping,
        None,
        default=None,
        doc="""
        Further arguments of ``skorch.NeuralNet``, such as ``callbacks``, ``optimizer`` (a class,
        or a name in ``torch.optim``) or ``optimizer__betas``. They take precedence over those of
        skae.""",
    )
