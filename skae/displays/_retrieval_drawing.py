"""How queries and their neighbors are drawn: as images, or as lines over the features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae.displays._base import divided
from skae.displays._images import as_images, colors_in, gap_of, mosaic, show, value_range
from skae.displays._reconstruction_drawing import (
    HIDDEN_COLOR,
    MAX_COLUMNS,
    label_features,
    share_limits,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = {True: "#0072b2", False: "#d55e00"}  # distinguishable with a colour vision deficiency
MEANINGS = {True: "same label", False: "another label"}
TEXT_HEIGHT = 0.3  # of the height of an image


@dataclass
class Found:
    """Queries (n, n_features), their neighbors (n, k, n_features), distances (n, k) and labels."""

    x: NDArray
    neighbors: NDArray
    distances: NDArray
    y: NDArray | None = None
    y_neighbors: NDArray | None = None

    @property
    def agrees(self) -> NDArray | None:
        """Which neighbors have the label of their query, (n, k)."""
        if self.y is None:
            return None
        return np.asarray(self.y_neighbors == self.y[:, None], dtype=bool)

    def title(self, i: int, j: int = 0) -> str:
        """Return what is written above query i, or above its neighbor j of 1 to k."""
        if j:
            return f"{'distance ' * (j == 1)}{self.distances[i, j - 1]:.3g}"
        return "query" if self.y is None else f"query: {self.y[i]}"

    def color(self, i: int, j: int) -> str:
        return COLORS[True if self.agrees is None else bool(self.agrees[i, j])]


def size_of_images(found: Found, image_shape: tuple[int, ...]) -> tuple[float, float]:
    """Return inches for a figure of `draw_images`."""
    n, k = found.distances.shape
    width = 1.1 * (k + 1) * image_shape[1] / image_shape[0]
    height = (1 + TEXT_HEIGHT) * n + TEXT_HEIGHT * (found.agrees is not None)
    shrink = min(1.0, 10 / width, 10 / height)
    return width * shrink, height * shrink + 0.1


def draw_images(
    ax: Axes, found: Found, image_shape: tuple[int, ...], cmap: Any
) -> tuple[Any, Any, list[list[Any]], list[list[Any]], Any]:
    """Draw a row of images for each query; return images, missing cells, texts, frames, legend."""
    from matplotlib.patches import Rectangle

    n, k = found.distances.shape
    height, width = image_shape[:2]
    gap, row_gap = gap_of(image_shape), math.ceil(TEXT_HEIGHT * height)
    rows = np.concatenate([found.x[:, None], found.neighbors], axis=1)
    images = as_images(rows.reshape(n * (k + 1), -1), image_shape)
    limits = value_range(images)
    picture = mosaic(colors_in(images, limits), k + 1, gap, row_gap)
    image = show(ax, picture, vmin=limits[0], vmax=limits[1], cmap=cmap)
    missing = None
    if np.isnan(images).any():
        is_missing = np.isnan(images).reshape(*images.shape[:3], -1).any(axis=3)
        colors = np.where(is_missing[..., None], (*HIDDEN_COLOR, 1.0), 0.0)
        missing = ax.imshow(np.nan_to_num(mosaic(colors, k + 1, gap, row_gap)))
    has_labels = found.agrees is not None
    ax.set_ylim(picture.shape[0] - 0.5, -row_gap * (1 + has_labels) - 0.5)
    size = _font_size(ax, n, k)
    texts: list[list[Any]] = [[] for _ in range(n)]
    frames: list[list[Any]] = [[] for _ in range(n)]
    for i, j in np.ndindex(n, k + 1):
        left, top = j * (width + gap) - 0.5, i * (height + row_gap) - 0.5
        place = left + width / 2, top - 0.2 * row_gap
        texts[i].append(ax.text(*place, found.title(i, j), ha="center", va="bottom", size=size))
        if j and has_labels:
            color = found.color(i, j - 1)
            frame = Rectangle((left, top), width, height, fill=False, color=color, linewidth=2.5)
            frames[i].append(ax.add_patch(frame))
            frame.set_clip_on(False)
    return image, missing, texts, frames, _explain(ax, size) if has_labels else None


def _font_size(ax: Axes, n: int, k: int) -> float:
    """Return the size of texts that fit above the images, smaller on small axes."""
    from matplotlib import rcParams

    extent = ax.get_window_extent()
    inches = min(extent.width / (k + 1), extent.height / n / (1 + TEXT_HEIGHT)) / ax.figure.dpi
    return rcParams["font.size"] * min(1.0, 1.3 * inches)  # a layout may yet enlarge the axes


def _explain(ax: Axes, size: float) -> Any:
    """Write what the colours of frames mean, above the texts of the first images."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=COLORS[same]) for same in (True, False)]
    labels = [MEANINGS[same] for same in (True, False)]
    legend = ax.legend(
        handles,
        labels,
        loc="upper center",
        ncols=2,
        frameon=False,
        handlelength=1,
        borderpad=0,
        borderaxespad=0,
        fontsize=size,
    )
    legend.set_in_layout(False)  # a legend that is wider than the images would shrink them
    return legend


def size_of_tables(found: Found) -> tuple[float, float]:
    """Return inches for a figure of `draw_tables`."""
    n_blocks, n_columns = _grid(len(found.x))
    return max(2.6 * n_columns + 0.8, 5.5), 2.2 * n_blocks + 2.0


def _grid(n: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of n panels, with few empty places."""
    n_blocks = -(-n // MAX_COLUMNS)
    return n_blocks, -(-n // n_blocks)


def draw_tables(
    ax: Axes, found: Found, feature_names: ArrayLike | None, unit: str
) -> tuple[NDArray, list[Any], list[list[Any]], Any]:
    """Draw a panel of lines for each query; return the axes, the lines and the legend."""
    n, k = found.distances.shape
    n_blocks, n_columns = _grid(n)
    head, below = divided(ax, 2, 1, height_ratios=(1, 8 * n_blocks)).ravel()
    panels = divided(below, n_blocks, n_columns).ravel()
    features = np.arange(found.x.shape[1])
    points: list[Any] = []
    lines: list[list[Any]] = []
    for panel in panels[n:]:
        panel.set_visible(False)
    for i, panel in enumerate(panels[:n]):
        lines.append([])
        for j in range(k):
            color = found.color(i, j)
            lines[i] += panel.plot(features, found.neighbors[i, j], color=color, linewidth=1)
        points += panel.plot(features, found.x[i], "o", color="black", markersize=3)
        distances = found.distances[i]
        panel.set_title(
            f"{found.title(i)}\ndistances {distances[0]:.3g} to {distances[-1]:.3g}",
            fontsize="medium",
        )
        is_last = i // n_columns == n_blocks - 1
        label_features(np.array([panel]), len(features), feature_names, is_last)
        if i % n_columns == 0:
            panel.set_ylabel(unit)
    share_limits(panels[:n], n_columns)
    return panels[:n], points, lines, _legend_of_lines(head, found, points[0])


def _legend_of_lines(head: Axes, found: Found, point: Any) -> Any:
    """Write what points and lines are."""
    from matplotlib.lines import Line2D

    head.set_axis_off()
    handles, labels = [point], ["query"]
    if found.agrees is None:
        handles.append(Line2D([], [], color=COLORS[True]))
        labels.append("neighbors")
    else:
        handles += [Line2D([], [], color=COLORS[same]) for same in (True, False)]
        labels += [f"neighbor: {MEANINGS[same]}" for same in (True, False)]
    return head.legend(handles, labels, loc="center", ncols=len(labels), frameon=False)
