"""How codes and decoded grids are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae.displays._images import colors_in, gap_of, mosaic, show, value_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CLASSES = 20  # different numbers that are classes
N_BINS = 30
MAX_TICKS = 4  # intervals between labels of an axis of a grid
TAILS = 0.01  # fraction of the decoded values that are drawn as black, and as white


def check_targets(y: ArrayLike | None, n_samples: int) -> NDArray | None:
    """Return y as an array of shape (n_samples,), or raise ValueError."""
    if y is None:
        return None
    targets = np.asarray(y)
    if targets.shape != (n_samples,):
        raise ValueError(
            f"y has shape {targets.shape}, but X has {n_samples} samples; pass one value for each."
        )
    return targets


@dataclass
class Colors:
    """Colours of samples: of a class, of a continuous value, or the same for all.

    Attributes
    ----------
    values : ndarray of shape (n_samples,) or None
        Numbers of the classes, or continuous values.
    classes : list of str
        Names of the classes; empty for continuous values.
    cmap : matplotlib Colormap or None
    """

    values: Any
    classes: list[str]
    cmap: Any

    @classmethod
    def of(cls, y: ArrayLike | None, cmap: Any) -> Colors:
        from matplotlib import colormaps

        if y is None:
            return cls(None, [], None)
        y = np.asarray(y)
        try:
            classes, numbers = np.unique(y, return_inverse=True)
        except TypeError:  # names beside None or numbers cannot be sorted
            classes, numbers = np.unique(y.astype(str), return_inverse=True)
        if y.dtype.kind in "iuf" and len(classes) > MAX_CLASSES:
            return cls(y.astype(np.float64), [], colormaps.get_cmap(cmap or "viridis"))
        if cmap is None and len(classes) <= MAX_CLASSES:
            return cls(
                numbers,
                [str(name) for name in classes],
                _first_colors("tab10" if len(classes) <= 10 else "tab20", len(classes)),
            )
        cmap = colormaps.get_cmap(cmap or "hsv").resampled(len(classes))
        return cls(numbers, [str(name) for name in classes], cmap)

    @property
    def is_continuous(self) -> bool:
        return self.values is not None and not self.classes

    def scatter(self) -> dict[str, Any]:
        """Return parameters of matplotlib's ``scatter``."""
        if self.values is None:
            return {"color": "C0"}
        limits = {} if self.is_continuous else {"vmin": -0.5, "vmax": len(self.classes) - 0.5}
        return {"c": self.values, "cmap": self.cmap} | limits

    def of_class(self, number: int) -> Any:
        return self.cmap((number + 0.5) / len(self.classes))


def _first_colors(name: str, n: int) -> Any:
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap([colormaps[name](i) for i in range(n)])


def draw_points(ax: Axes, x: NDArray, y: NDArray, colors: Colors, style: dict[str, Any]) -> Any:
    return ax.scatter(x, y, **colors.scatter() | style)


def draw_histogram(ax: Axes, x: NDArray, colors: Colors) -> Any:
    """Draw a histogram, stacked by class, and return its bars."""
    if not colors.classes:
        return ax.hist(x, N_BINS, color="C0" if colors.values is None else "0.6")[2]
    parts = [x[colors.values == number] for number in range(len(colors.classes))]
    shades = [colors.of_class(number) for number in range(len(parts))]
    return ax.hist(parts, N_BINS, stacked=True, color=shades)[2]


def draw_pairs(
    cells: NDArray, codes: NDArray, colors: Colors, style: dict[str, Any]
) -> tuple[list[Any], list[Any]]:
    """Draw scatter plots below the diagonal and histograms on it; return both."""
    scatters, histograms = [], []
    for (i, j), cell in np.ndenumerate(cells):
        if j > i:
            cell.set_axis_off()
        elif j == i:
            histograms.append(draw_histogram(cell, codes[:, i], colors))
            cell.set_yticks([])
        else:
            cell.sharex(cells[j, j])
            scatters.append(draw_points(cell, codes[:, j], codes[:, i], colors, style))
            if j > 0:
                cell.sharey(cells[i, 0])
                cell.tick_params(labelleft=False)
        if i < len(cells) - 1:
            cell.tick_params(labelbottom=False)
        else:
            cell.set_xlabel(f"component {j}")
        if j == 0 and i > 0:
            cell.set_ylabel(f"component {i}")
    return scatters, histograms


def write_legend(
    ax: Axes, colors: Colors, scatters: list[Any], is_empty: bool = False
) -> tuple[Any, Any]:
    """Write a legend of classes or a colour bar beside an axes, or in an empty one; return both."""
    figure = ax.figure
    if colors.is_continuous and scatters and figure is not None:
        place = ax.inset_axes((0.5, 0.1, 0.1, 0.8) if is_empty else (1.03, 0, 0.05, 1))
        return None, figure.colorbar(scatters[0], cax=place, label="y")
    if not colors.classes or len(colors.classes) > MAX_CLASSES:
        return None, None
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", linestyle="none", color=colors.of_class(i), label=name)
        for i, name in enumerate(colors.classes)
    ]
    style: dict[str, Any] = {"ncols": 1 + (len(handles) > 10), "frameon": False}
    if not is_empty:
        return ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), **style), None
    legend = ax.legend(handles=handles, loc="upper right", **style)
    legend.set_in_layout(False)  # it may reach into the empty axes below
    return legend, None


def draw_grid(ax: Axes, images: NDArray, values: NDArray, cmap: Any) -> Any:
    """Draw decoded images at the values of two components, the second one upwards."""
    n = values.shape[1]
    gap = gap_of(images.shape[1:])
    upwards = images.reshape(n, n, *images.shape[1:])[::-1].reshape(images.shape)
    limits = value_range(images, TAILS)
    picture = mosaic(colors_in(upwards, limits), n, gap)
    image = show(ax, picture, vmin=limits[0], vmax=limits[1], cmap=cmap)
    chosen = np.arange(0, n, max(1, -(-(n - 1) // MAX_TICKS)))
    height, width = (length + gap for length in images.shape[1:3])
    across, up = (_tick_labels(axis[chosen]) for axis in values)
    ax.set_xticks((chosen + 0.5) * width - 1, across)
    ax.set_yticks((n - chosen - 0.5) * height - 1, up)
    ax.set(xlabel="component 0", ylabel="component 1")
    return image


def _tick_labels(values: NDArray) -> list[str]:
    """Return values with the digits that tell them apart: two of their range."""
    width = float(np.ptp(values))
    if not 1e-3 < width < 1e5:
        return [f"{value:.2g}" for value in values]
    decimals = max(0, 1 - math.floor(math.log10(width)))
    return [f"{value + 0.0:.{decimals}f}" for value in values.round(decimals)]  # no "-0"
