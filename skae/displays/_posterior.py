"""The KL divergence of the components of a variational autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae.displays._base import Display, before_last_step, in_brackets, last_step, name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer

ACTIVE_VARIANCE = 0.01  # of the posterior mean (Burda et al. 2016)
MAX_LABELS = 20


class PosteriorDisplay(Display):
    r"""KL divergence of each component of a variational autoencoder from the prior.

    Components are sorted by their mean divergence over the samples, in nats. One is active if the
    mean of its posterior depends on the sample: if its variance over the samples,
    :math:`\text{Var}_x(\mu_j(x))`, is more than 0.01. Use `from_estimator` to create one.

    Parameters
    ----------
    kl : array-like of shape (n_components,)
        Mean KL divergence of each component, in nats.
    mean_variance : array-like of shape (n_components,)
        Variance of the posterior mean of each component over the samples.
    estimator_name : str, default=None
        Name for the legend. If None, it is not in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Figure that contains them.
    active_bars_, inactive_bars_ : matplotlib BarContainer
        Bars of the active and of the inactive components.
    order_ : ndarray of shape (n_components,)
        Index of the component of each bar.
    active_ : ndarray of shape (n_components,) of bool
        Whether the component of each bar is active.

    See Also
    --------
    ActivationDisplay : How often the units of a sparse code are active.

    References
    ----------
    Burda, Y., Grosse, R. and Salakhutdinov, R. (2016). "Importance weighted autoencoders".
    International Conference on Learning Representations.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import VariationalAutoencoder
    >>> from skae.displays import PosteriorDisplay
    >>> X = load_digits().data
    >>> vae = VariationalAutoencoder(8, max_iter=5, random_state=0).fit(X)
    >>> display = PosteriorDisplay.from_estimator(vae, X)
    >>> display.ax_.get_title()
    '8 of 8 components active'
    """

    def __init__(
        self, kl: ArrayLike, *, mean_variance: ArrayLike, estimator_name: str | None = None
    ):
        self.kl = kl
        self.mean_variance = mean_variance
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the divergences of the posterior of samples.

        Parameters
        ----------
        estimator : object
            A fitted `VariationalAutoencoder`, or a pipeline that ends in one.
        X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
            Input samples.
        name : str, default=None
            Name for the legend. Pass one for each estimator if several are drawn on one `ax`.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``bar``.

        Returns
        -------
        display : PosteriorDisplay
            The display.

        Raises
        ------
        TypeError
            If the estimator has no posterior.
        """
        model = last_step(estimator)
        if not hasattr(model, "posterior"):
            raise TypeError(
                f"{name_of(estimator)} has no posterior; pass a fitted VariationalAutoencoder, or "
                "a pipeline that ends in one."
            )
        mean, std = (a.astype(float) for a in model.posterior(before_last_step(estimator, X)))
        kl = (mean**2 + std**2 - 1) / 2 - np.log(std)
        display = cls(kl.mean(axis=0), mean_variance=mean.var(axis=0), estimator_name=name)
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, **kwargs: Any) -> Self:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``bar``.

        Returns
        -------
        self : PosteriorDisplay
            The display.
        """
        ax = self._set_axes(ax)
        kl = np.asarray(self.kl, dtype=np.float64)
        self.order_ = np.argsort(-kl, kind="stable")
        self.active_ = np.asarray(self.mean_variance)[self.order_] > ACTIVE_VARIANCE
        suffix = in_brackets(self.estimator_name)

        def bars(which: NDArray, color: str, name: str) -> BarContainer:
            label = f"{which.sum()} {name}{suffix}" if which.any() else None
            style: dict[str, Any] = {"color": color, "label": label} | kwargs
            return ax.bar(np.flatnonzero(which), kl[self.order_][which], **style)

        self.active_bars_ = bars(self.active_, "C0", "active")
        self.inactive_bars_ = bars(~self.active_, "0.65", "inactive")
        if len(kl) <= MAX_LABELS:
            ax.set_xticks(np.arange(len(kl)), self.order_)
        ax.set(
            xlabel="component, by descending divergence",
            ylabel="KL divergence from the prior (nats)",
            title=f"{self.active_.sum()} of {len(kl)} components active",
        )
        ax.legend()
        return self
