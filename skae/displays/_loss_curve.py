"""The loss of each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skae.base import BaseAutoencoder
from skae.displays._base import Display, in_brackets, last_step, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class LossCurveDisplay(Display):
    """Loss of the training and of the validation samples by epoch.

    It shows whether training has converged, and how much better than its start, which is PCA for
    most autoencoders, the kept epoch is. Use `from_estimator` to create one.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Mean training loss of each epoch.
    validation_loss_curve : array-like of shape (n_epochs,), default=None
        Mean loss of the validation samples after each epoch.
    loss_terms : dict of str to array-like of shape (n_epochs,), default=None
        Terms of the training loss.
    initial_validation_loss : float, default=None
        Loss of the validation samples before the first epoch.
    best_epoch : int, default=None
        Epoch whose weights were kept, 0 for the start.
    initial_name : str, default="start"
        What training started from.
    estimator_name : str, default=None
        Name for the legend. If None, it is not in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Figure that contains them.
    training_line_ : matplotlib Line2D
        Curve of the training loss.
    validation_line_ : matplotlib Line2D or None
        Curve of the validation loss.
    term_lines_ : dict of str to matplotlib Line2D
        Curves of the terms.
    initial_line_ : matplotlib Line2D or None
        Level of the initial validation loss.
    best_point_ : matplotlib Line2D or None
        Marker of the epoch that was kept.

    See Also
    --------
    ExplainedVarianceDisplay : Error by the number of components.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import Autoencoder
    >>> from skae.displays import LossCurveDisplay
    >>> X = load_digits().data
    >>> autoencoder = Autoencoder(8, max_iter=5, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(autoencoder)
    >>> display.ax_.get_xlabel()
    'epoch'
    """

    def __init__(
        self,
        loss_curve: ArrayLike,
        *,
        validation_loss_curve: ArrayLike | None = None,
        loss_terms: Mapping[str, ArrayLike] | None = None,
        initial_validation_loss: float | None = None,
        best_epoch: int | None = None,
        initial_name: str = "start",
        estimator_name: str | None = None,
    ):
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.loss_terms = loss_terms
        self.initial_validation_loss = initial_validation_loss
        self.best_epoch = best_epoch
        self.initial_name = initial_name
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        name: str | None = None,
        terms: bool | str | Sequence[str] = False,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the loss curves of a fitted autoencoder.

        Parameters
        ----------
        estimator : object
            A fitted autoencoder, a pipeline that ends in one, or an estimator with one in
            ``estimator_``, as `AutoencoderOutlierDetector`.
        name : str, default=None
            Name for the legend. Pass one for each estimator if several are drawn on one `ax`.
        terms : bool, str or sequence of str, default=False
            Whether to draw the terms of the training loss, or which of them.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``plot``.

        Returns
        -------
        display : LossCurveDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator has no loss curve.
        """
        model = last_step(estimator)
        model = getattr(model, "estimator_", model)
        if not hasattr(model, "loss_curve_"):
            raise TypeError(
                f"{name_of(estimator)} has no loss_curve_; pass a fitted autoencoder, or a "
                "pipeline or a search's best_estimator_ that ends in one."
            )
        display = cls(
            np.asarray(model.loss_curve_),
            validation_loss_curve=_array(getattr(model, "validation_loss_curve_", None)),
            loss_terms={k: np.asarray(v) for k, v in getattr(model, "loss_terms_", {}).items()},
            initial_validation_loss=getattr(model, "initial_validation_loss_", None),
            best_epoch=getattr(model, "best_epoch_", None),
            initial_name=_initial_name(model),
            estimator_name=name,
        )
        return display.plot(ax, terms=terms, **kwargs)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        terms: bool | str | Sequence[str] = False,
        **kwargs: Any,
    ) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        terms : bool, str or sequence of str, default=False
            Whether to draw the terms of the training loss, or which of them.
        **kwargs : dict
            Parameters of matplotlib's ``plot``.

        Returns
        -------
        self : LossCurveDisplay
            The display.

        Raises
        ------
        ValueError
            If a term is not in ``loss_terms``, or if there is no validation loss of the best epoch.
        """
        chosen = self._chosen_terms(terms)
        self._check_best_epoch()
        ax = self._set_axes(ax)
        from matplotlib.ticker import MaxNLocator

        suffix = in_brackets(self.estimator_name)
        curve, held_out = np.asarray(self.loss_curve), self.validation_loss_curve
        epochs = np.arange(1, len(curve) + 1)

        def line(values: ArrayLike, label: str, **style: Any) -> Any:
            return ax.plot(epochs, values, label=f"{label}{suffix}", **style | kwargs)[0]

        self.training_line_ = line(curve, "training", linestyle="--")
        color = self.training_line_.get_color()
        self.term_lines_ = {name: line(v, name, linewidth=0.9) for name, v in chosen.items()}
        self.validation_line_ = self.initial_line_ = self.best_point_ = None
        if held_out is not None:
            self.validation_line_ = line(held_out, "validation", color=color)
            initial = self.initial_validation_loss
            losses = [np.nan if initial is None else initial, *np.asarray(held_out)]
            if initial is not None:
                label = f"validation, {self.initial_name}{suffix}"
                self.initial_line_ = ax.axhline(initial, color=color, linestyle=":", label=label)
            if self.best_epoch is not None and np.isfinite(losses[self.best_epoch]):
                (self.best_point_,) = ax.plot(
                    [self.best_epoch],
                    [losses[self.best_epoch]],
                    marker="o",
                    linestyle="none",
                    color=color,
                    label=f"epoch {self.best_epoch}, kept{suffix}",
                )
        ax.set(xlabel="epoch", ylabel="loss")
        if ax.get_xscale() == "linear":
            ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
        ax.legend()
        return self

    def _check_best_epoch(self) -> None:
        if self.validation_loss_curve is None or self.best_epoch is None:
            return
        last = len(np.asarray(self.validation_loss_curve))
        if not 0 <= self.best_epoch <= last:
            raise ValueError(
                f"best_epoch must be from 0 to {last}, the number of validation losses; got "
                f"{self.best_epoch}."
            )

    def _chosen_terms(self, terms: bool | str | Sequence[str]) -> dict[str, ArrayLike]:
        known = dict(self.loss_terms or {})
        terms = [terms] if isinstance(terms, str) else terms
        names = list(known) * terms if isinstance(terms, bool) else list(terms)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"terms has {unknown[0]!r}, but the terms are {sorted(known)}.")
        return {name: known[name] for name in names}


def _array(values: Sequence[float] | None) -> Any:
    return None if values is None else np.asarray(values)


def _initial_name(model: Any) -> str:
    starts_linear = isinstance(model, BaseAutoencoder) and model._starts_from_pca()
    return model._init_name if starts_linear else "start"
