"""Distortion of compressed samples by the number of bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae._numeric_input import as_numeric
from skae._validation import check_sample_weight, weighted_mean
from skae.displays._base import Display, before_last_step, last_step, lines_of, name_of, undo_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

METRICS = {"psnr": "PSNR (dB)", "rmse": "root mean squared error", "mse": "mean squared error"}


class RateDistortionDisplay(Display):
    r"""Distortion of compressed samples by the number of bits.

    It compares compressors at equal rates: of two curves, the one nearer to the corner of few bits
    and low distortion is better. Use `from_estimators` to create one from fitted compressors, and
    the constructor for the curves of other codecs, such as JPEG.

    Parameters
    ----------
    rate : dict of str to array-like of shape (n_points,)
        Mean number of bits per sample of the points of each curve.
    distortion : dict of str to array-like of shape (n_points,)
        Distortion at each of them, or a quality such as PSNR.
    distortion_name : str, default="PSNR (dB)"
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the picture.
    figure_ : matplotlib Figure
        Figure that contains them.
    lines_ : dict of str to matplotlib Line2D
        Curve of each name.

    See Also
    --------
    skae.AutoencoderCompressor : Compression by an autoencoder.
    ExplainedVarianceDisplay : The error by the number of components.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import Autoencoder, AutoencoderCompressor
    >>> from skae.displays import RateDistortionDisplay
    >>> X = load_digits().data.astype("uint8")
    >>> inner = Autoencoder(32, max_iter=30)
    >>> models = [
    ...     AutoencoderCompressor(inner, rate_weight=w, random_state=0).fit(X[:1300])
    ...     for w in (0.1, 0.3)
    ... ]
    >>> display = RateDistortionDisplay.from_estimators(models, X[1300:], data_range=16)
    >>> bits, psnr = display.lines_["AutoencoderCompressor"].get_data()
    >>> bool(bits[0] < bits[1]), bool(psnr[0] < psnr[1])
    (True, True)

    The curve of another codec on the same axes:

    >>> other = RateDistortionDisplay({"another": [40, 80]}, {"another": [20, 23]})
    >>> sorted(other.plot(display.ax_).lines_)
    ['another']
    """

    def __init__(
        self,
        rate: Mapping[str, ArrayLike],
        distortion: Mapping[str, ArrayLike],
        *,
        distortion_name: str = "PSNR (dB)",
    ):
        self.rate = rate
        self.distortion = distortion
        self.distortion_name = distortion_name

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Sequence[Any],
        X: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        metric: str = "psnr",
        data_range: float | None = None,
        log_scale: bool = False,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        r"""Plot the distortion of fitted compressors by their rate.

        With the mean over samples i and observed features j, weighted by ``sample_weight``,

        .. math:: \mathrm{MSE} = \overline{(\hat x_{ij} - x_{ij})^2}, \qquad
                  \mathrm{PSNR} = 10 \log_{10} \frac{\mathrm{range}^2}{\mathrm{MSE}}.

        Parameters
        ----------
        estimators : sequence of objects, or dict of str to object or to sequence of objects
            Fitted compressors: estimators that have ``rate`` and ``reconstruct``, such as
            `AutoencoderCompressor`, or pipelines that end in one. In a sequence, those of one
            class are joined by a line; in a mapping, those of one name.
        X : array-like of shape (n_samples, n_features)
            Input samples, preferably not those of training. NaN marks a missing value, and is
            ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. If None, all samples are weighted equally.
        metric : {"psnr", "rmse", "mse"}, default="psnr"
            Peak signal-to-noise ratio in decibels, root mean squared error, or mean squared error.
            The PSNR of a lossless point is infinite, so that it is not drawn.
        data_range : float, default=None
            Difference of the largest and smallest possible value, for "psnr". If None, 255 for an
            array of uint8, and 1 for other values, which must be within [0, 1].
        log_scale : bool, default=False
            Whether the axis of the rate is logarithmic.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Parameters of matplotlib's ``plot``.

        Returns
        -------
        display : RateDistortionDisplay
            The display.

        Raises
        ------
        ValueError
            If there are no estimators, if the metric is unknown, or if X is not within [0, 1] and
            ``data_range`` is None.
        TypeError
            If an estimator has no ``rate`` or no ``reconstruct``, or if X has columns that are not
            numbers.
        """
        if metric not in METRICS:
            raise ValueError(f"metric must be one of {sorted(METRICS)}; got {metric!r}.")
        given = _as_floats(X)
        peak = _peak(X, given, data_range) if metric == "psnr" else 1.0
        rate, distortion = {}, {}
        for name, members in lines_of(estimators).items():
            points = np.array([_point(model, X, given, sample_weight) for model in members])
            bits, square = points[np.argsort(points[:, 0], kind="stable")].T
            rate[name], distortion[name] = bits, _in_metric(square, metric, peak)
        display = cls(rate, distortion, distortion_name=METRICS[metric])
        return display.plot(ax, log_scale=log_scale, **kwargs)

    def plot(self, ax: Axes | None = None, *, log_scale: bool = False, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        log_scale : bool, default=False
            Whether the axis of the rate is logarithmic.
        **kwargs : dict
            Parameters of matplotlib's ``plot``.

        Returns
        -------
        self : RateDistortionDisplay
            The display.
        """
        ax = self._set_axes(ax)
        self.lines_: dict[str, Line2D] = {}
        style: dict[str, Any] = {"marker": "o", "markersize": 4} | kwargs
        for name, bits in self.rate.items():
            own: dict[str, Any] = {"label": name} | style
            (self.lines_[name],) = ax.plot(np.asarray(bits), self.distortion[name], **own)
        if log_scale:
            ax.set_xscale("log")
        ax.set(xlabel="bits per sample", ylabel=self.distortion_name)
        ax.legend()
        return self


def _as_floats(X: Any) -> NDArray:
    return np.asarray(as_numeric(X)).astype(np.float64)


def _peak(X: Any, given: NDArray, data_range: float | None) -> float:
    """Return the difference of the largest and smallest possible value."""
    if data_range is not None:
        if not (np.isfinite(data_range) and data_range > 0):
            raise ValueError(f"data_range must be positive; got {data_range!r}.")
        return float(data_range)
    if getattr(X, "dtype", None) == np.uint8:
        return 255.0
    known = given[~np.isnan(given)]
    if known.size and not (known.min() >= 0 and known.max() <= 1):
        raise ValueError(
            f"X has values from {known.min():.4g} to {known.max():.4g}, whose possible range is "
            "not known; pass it as data_range, or set metric='rmse'."
        )
    return 1.0


def _point(
    estimator: Any, X: ArrayLike, given: NDArray, sample_weight: ArrayLike | None
) -> tuple[float, float]:
    """Return the mean number of bits per sample, and the mean squared error."""
    last = last_step(estimator)
    for name in ("rate", "reconstruct"):
        if not hasattr(last, name):
            raise TypeError(
                f"{name_of(estimator)} has no method {name!r}; pass an AutoencoderCompressor, or a "
                "pipeline that ends in one. Curves of other codecs are drawn by the constructor, "
                "RateDistortionDisplay(rate, distortion)."
            )
    inner = before_last_step(estimator, X)
    restored = _as_floats(undo_steps(estimator, last.reconstruct(inner)))
    weight = check_sample_weight(sample_weight, len(given))
    known = ~np.isnan(given)
    square = np.where(known, (restored - np.nan_to_num(given)) ** 2, 0).sum(axis=1)
    n_known = weighted_mean(known.sum(axis=1).astype(np.float64), weight)
    return (
        float(weighted_mean(np.asarray(last.rate(inner)), weight)),
        float(weighted_mean(square, weight) / n_known),
    )


def _in_metric(square: NDArray, metric: str, peak: float) -> NDArray:
    """Return mean squared errors in another metric."""
    if metric == "mse":
        return square
    if metric == "rmse":
        return np.sqrt(square)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(peak**2 / square)
