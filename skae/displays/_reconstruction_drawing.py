"""How samples and their reconstructions are drawn: as images, or as lines over the features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skae.displays._base import divided
from skae.displays._images import (
    as_images,
    colors_in,
    figure_size,
    gap_of,
    label_rows,
    mosaic,
    show,
    value_range,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIDDEN_COLOR = (1.0, 0.84, 0.0)  # neither gray nor in the map of the residuals
HIDDEN_ALPHA = 0.55
MAX_COLUMNS = 4  # panels side by side
MAX_NAMES, MAX_NAME_LENGTH = 16, 16  # names of features that are written


@dataclass
class Comparison:
    """Samples, their reconstructions by name, and which cells were hidden; (n, n_features)."""

    x: NDArray
    x_hat: dict[str, NDArray]
    hidden: NDArray

    @property
    def errors(self) -> dict[str, float]:
        """The relative error of each reconstruction."""
        observed = ~np.isnan(self.x)
        of_hidden = observed & self.hidden
        cells = of_hidden if of_hidden.any() else observed
        norm = np.linalg.norm(self.x[cells])
        return {
            name: float(np.linalg.norm((self.x - x_hat)[cells]) / norm) if norm > 0 else np.nan
            for name, x_hat in self.x_hat.items()
        }

    def label_of_x(self) -> str:
        found = {"missing": np.isnan(self.x).any(), "hidden": self.hidden.any()}
        kinds = [kind for kind, is_found in found.items() if is_found]
        return f"original\nyellow: {' and '.join(kinds)}" if kinds else "original"

    def label_of(self, name: str) -> str:
        where = "\nof hidden cells" if self.hidden.any() else ""
        return f"{name}\nrelative error{where} {self.errors[name]:.2f}"


def size_of_images(
    rows: Comparison, image_shape: tuple[int, ...], residuals: bool
) -> tuple[float, float]:
    """Return inches for a figure of `draw_images`."""
    return figure_size(1 + len(rows.x_hat) * (1 + residuals), len(rows.x), image_shape, 1.9)


def draw_images(
    ax: Axes,
    rows: Comparison,
    image_shape: tuple[int, ...],
    residuals: bool,
    cmap: Any,
    residual_cmap: Any,
) -> tuple[Any, Any, Any]:
    """Draw rows of images, one below the other; return them, the residuals and the overlay."""
    x = as_images(rows.x, image_shape)
    limits, gap = value_range(x), gap_of(image_shape)
    blank = np.full(x.shape[:3], np.nan)
    x_hat = {name: as_images(values, image_shape) for name, values in rows.x_hat.items()}
    differences = {name: _gray(x - values) for name, values in x_hat.items()}
    bound = max(float(np.nan_to_num(abs(r)).max()) for r in differences.values()) or 1.0
    labels, images, residual_images = [rows.label_of_x()], [x], [blank]
    for name, values in x_hat.items():
        labels += [rows.label_of(name)]
        images += [values]
        residual_images += [blank]
        if residuals:
            labels += [f"residual\nblue -{bound:.2g}, red {bound:.2g}"]
            images += [np.full_like(x, np.nan)]
            residual_images += [differences[name]]
    picture = mosaic(colors_in(np.concatenate(images), limits), len(x), gap)
    image = show(ax, picture, vmin=limits[0], vmax=limits[1], cmap=cmap)
    residual_image = hidden_image = None
    if residuals:
        picture = mosaic(np.concatenate(residual_images), len(x), gap)
        residual_image = show(ax, picture, vmin=-bound, vmax=bound, cmap=residual_cmap)
    if np.isnan(x).any() or rows.hidden.any():
        overlay = _overlay(rows, image_shape, len(labels), residuals)
        hidden_image = ax.imshow(np.nan_to_num(mosaic(overlay, len(x), gap)))
    label_rows(ax, labels, image_shape[0] + gap)
    return image, residual_image, hidden_image


def _gray(images: NDArray) -> NDArray:
    return images.mean(axis=3) if images.ndim == 4 else images


def _overlay(
    rows: Comparison, image_shape: tuple[int, ...], n_rows: int, residuals: bool
) -> NDArray:
    """Return images (n_rows * n, height, width, 4) that colour missing and hidden cells."""
    missing, hidden = (
        _gray(as_images(cells, image_shape)) > 0 for cells in (np.isnan(rows.x), rows.hidden)
    )
    colors = np.zeros((n_rows, *missing.shape, 4))
    colors[..., :3] = HIDDEN_COLOR
    colors[0, ..., 3] = np.where(missing, 1.0, hidden * HIDDEN_ALPHA)
    if residuals:
        colors[2::2, ..., 3] = missing
    return colors.reshape(-1, *colors.shape[2:])


def size_of_tables(rows: Comparison, residuals: bool) -> tuple[float, float]:
    """Return inches for a figure of `draw_tables`."""
    n_blocks = -(-len(rows.x) // MAX_COLUMNS)
    return 2.6 * min(len(rows.x), MAX_COLUMNS) + 0.8, (2.2 + residuals) * n_blocks + 1.2


def draw_tables(
    ax: Axes, rows: Comparison, feature_names: ArrayLike | None, unit: str, residuals: bool
) -> tuple[list[Any], dict[str, list[Any]], dict[str, list[Any]]]:
    """Draw a panel for each sample, and one of its residuals below it; return lines and bars."""
    n, height = len(rows.x), 1 + residuals
    n_columns = min(n, MAX_COLUMNS)
    n_blocks = -(-n // n_columns)
    legend, below = divided(ax, 2, 1, height_ratios=(1, 8 * n_blocks)).ravel()
    ratios = ([2, 1] if residuals else [1]) * n_blocks
    cells = divided(below, height * n_blocks, n_columns, height_ratios=ratios)
    points: list[Any] = []
    lines: dict[str, list[Any]] = {name: [] for name in rows.x_hat}
    bars: dict[str, list[Any]] = {name: [] for name in rows.x_hat}
    for i in range(n_blocks * n_columns):
        row, column = divmod(i, n_columns)
        panels = cells[height * row : height * (row + 1), column]
        if i >= n:
            for panel in panels:
                panel.set_visible(False)
            continue
        _mark_cells(panels, np.isnan(rows.x[i]), rows.hidden[i])
        _draw_sample(rows, i, panels, points, lines, bars)
        panels[0].set_title(f"sample {i}", fontsize="medium")
        label_features(panels, rows.x.shape[1], feature_names, is_last=row == n_blocks - 1)
        if column == 0:
            for panel, label in zip(panels, [unit, "residual"], strict=False):
                panel.set_ylabel(label)
    for kind in range(height):
        share_limits(cells[kind::height].ravel()[:n], n_columns)
    handles = [points[0], *(line[0] for line in lines.values())]
    labels = [rows.label_of_x(), *(rows.label_of(name) for name in lines)]
    legend.set_axis_off()
    legend.legend(handles, labels, loc="center", ncols=len(labels), frameon=False)
    return points, lines, bars


def _mark_cells(panels: NDArray, missing: NDArray, hidden: NDArray) -> None:
    for panel in panels:
        for j in np.flatnonzero(missing | hidden):
            alpha = 0.7 if missing[j] else 0.35
            panel.axvspan(j - 0.5, j + 0.5, color=HIDDEN_COLOR, alpha=alpha, linewidth=0)


def _draw_sample(
    rows: Comparison,
    i: int,
    panels: NDArray,
    points: list[Any],
    lines: dict[str, list[Any]],
    bars: dict[str, list[Any]],
) -> None:
    """Draw a sample, its reconstructions and, if there is a second panel, the residuals."""
    features = np.arange(rows.x.shape[1])
    width = 0.8 / len(rows.x_hat)
    for number, (name, x_hat) in enumerate(rows.x_hat.items()):
        style = "--" if number % 2 else "-"  # lines may coincide
        lines[name] += panels[0].plot(features, x_hat[i], style, color=f"C{number}", linewidth=1.3)
        for panel in panels[1:]:
            at = features - 0.4 + (number + 0.5) * width
            bars[name].append(panel.bar(at, rows.x[i] - x_hat[i], width, color=f"C{number}"))
    for panel in panels[1:]:
        panel.axhline(0, color="black", linewidth=0.6)
    points += panels[0].plot(features, rows.x[i], "o", color="black", markersize=3)


def label_features(
    panels: NDArray, n_features: int, names: ArrayLike | None, is_last: bool
) -> None:
    """Write the names of the features below the last panels, if they are few."""
    for panel in panels:
        panel.set_xlim(-0.6, n_features - 0.4)
        if n_features <= MAX_NAMES:
            panel.set_xticks(range(n_features), [])
        elif panel is not panels[-1] or not is_last:
            panel.tick_params(labelbottom=False)
    if is_last and n_features <= MAX_NAMES and names is not None:
        texts = [_shorten(str(name)) for name in np.asarray(names)]
        panels[-1].set_xticks(range(n_features), texts, rotation=90)
    elif is_last:
        panels[-1].set_xlabel("feature")


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"


def share_limits(panels: NDArray, n_columns: int) -> None:
    """Give panels the same vertical range; only the first of each row have numbers."""
    low, high = np.array([panel.get_ylim() for panel in panels]).T
    for i, panel in enumerate(panels):
        panel.set_ylim(low.min(), high.max())
        panel.tick_params(labelleft=i % n_columns == 0)
