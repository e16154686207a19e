"""Denoising of photographs and of MNIST: skae, PCA and the classic filters of scikit-image.

Pixels are in [0, 1]. Noise: gaussian of three levels, half of the pixels missing, 30 % of them
black or white. Figures are means over the test images of the PSNR and SSIM of results, clipped to
[0, 1]. Rivals are told the level of gaussian noise and have the parameters with the highest PSNR on
the test images, PCA its best size. Missing pixels are filled by the weighted mean of their
neighbours for TV, wavelets and non-local means; observed ones are kept as they are, by all methods.
In photographs, all methods also try black and white pixels as missing ones.

Photographs are those of scikit-learn, each denoised by what was learnt from the other, or from five
photographs of scikit-image (``--train skimage``). MNIST is read from $SKAE_DATA/images/mnist.npz.

    python benchmarks/image_denoising.py --json out.json --figure photographs.png
    python benchmarks/image_denoising.py --colour --train skimage
    python benchmarks/image_denoising.py --data mnist
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from report import show_table, write_json
from rich.table import Table
from scipy.ndimage import gaussian_filter, median_filter
from skimage import data as skimage_data
from skimage.metrics import structural_similarity
from skimage.restoration import (
    cycle_spin,
    denoise_nl_means,
    denoise_tv_chambolle,
    denoise_wavelet,
    inpaint_biharmonic,
)
from sklearn.base import clone
from sklearn.datasets import load_sample_images
from sklearn.decomposition import PCA

from skae import AutoencoderWarning, Conv, DenoisingAutoencoder, LinearAutoencoder, PatchDenoiser

Images = list[np.ndarray]
Denoise = Callable[[np.ndarray], np.ndarray]  # of one image

LUMINANCE = np.array([0.2125, 0.7154, 0.0721], dtype=np.float32)
NOISES = {
    "gaussian 0.1": ("gaussian", 0.1),
    "gaussian 0.25": ("gaussian", 0.25),
    "gaussian 0.5": ("gaussian", 0.5),
    "masking 50 %": ("masking", 0.5),
    "salt and pepper 30 %": ("salt_and_pepper", 0.3),
}
PICTURED = ("noisy", "PCA", "total variation", "non-local means", "skae", "clean")
SHIFTS = 3  # of wavelets, in each direction


class Task(NamedTuple):
    """What is denoised by what was learnt from other images."""

    train: Images
    test: Images
    epochs: int
    colour: bool

    @property
    def axis(self) -> int | None:
        """Return the axis of the channels, as scikit-image expects it."""
        return -1 if self.colour else None

    @property
    def of_photographs(self) -> bool:
        """Return whether images are photographs rather than rows."""
        return self.test[0].shape[0] > 28


def corrupted(image: np.ndarray, noise: str, level: float, seed: int) -> np.ndarray:
    """Return an image with noise; NaN are missing pixels, of all channels."""
    rng = np.random.default_rng(seed)
    if noise == "gaussian":
        return image + level * rng.standard_normal(image.shape).astype(image.dtype)
    chosen = rng.random(image.shape[:2]) < level
    image = image.copy()
    image[chosen] = np.nan
    if noise == "salt_and_pepper":
        image[chosen] = (rng.random(image.shape) < 0.5)[chosen]
    return image


def filled(image: np.ndarray, axis: int | None) -> np.ndarray:
    """Return an image with missing pixels as the weighted means of their neighbours."""
    observed = ~np.isnan(image)
    if observed.all():
        return image
    sigma = (1, 1, 0)[: image.ndim]
    totals = gaussian_filter(np.where(observed, image, 0), sigma)
    means = totals / np.maximum(gaussian_filter(observed.astype(image.dtype), sigma), 1e-6)
    return np.where(observed, image, means)


# ------------------------------------------------------------------------------------- methods


def filters(task: Task, noise: str, level: float) -> Iterator[tuple[str, str, Denoise]]:
    """Yield name, parameters and function of each filter."""
    axis, is_gaussian = task.axis, noise == "gaussian"
    sigma = level if is_gaussian else None
    unit = level if is_gaussian else 0.25
    for weight in (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.7):
        f = partial(denoise_tv_chambolle, weight=weight * unit, channel_axis=axis)
        yield "total variation", f"weight={weight * unit:.3f}", f
    for method in ("BayesShrink", "VisuShrink"):
        for wavelet in ("db2", "sym8"):
            f = partial(
                denoise_wavelet,
                **{"sigma": sigma, "method": method, "wavelet": wavelet, "channel_axis": axis},
                rescale_sigma=True,
            )
            spun = partial(cycle_spin, func=f, max_shifts=SHIFTS, channel_axis=axis, workers=1)
            yield "wavelets", f"{method}, {wavelet}, {SHIFTS} shifts", spun
    for h in (0.4, 0.6, 0.8, 1.0):
        for size in (5, 7):
            f = partial(
                denoise_nl_means,
                **{"h": h * unit, "sigma": sigma or 0.0, "patch_size": size},
                **{"patch_distance": 8, "fast_mode": True, "channel_axis": axis},
            )
            yield "non-local means", f"h={h * unit:.3f}, patch_size={size}", f
    if noise == "salt_and_pepper":
        for size in (3, 5, 7):
            f = partial(median_filter, size=(size, size, 1)[: 2 + task.colour])
            yield "median filter", f"size={size}", f


def biharmonic(image: np.ndarray, axis: int | None) -> np.ndarray:
    """Return an image with missing pixels inpainted."""
    missing = np.isnan(image) if axis is None else np.isnan(image).any(axis=axis)
    return inpaint_biharmonic(
        np.nan_to_num(image), missing, split_into_regions=True, channel_axis=axis
    )


def by_pca(task: Task) -> Iterator[tuple[str, Denoise]]:
    """Yield the size and the function of PCA of patches or of images."""
    if task.of_photographs:
        forms = [("decorrelated", 12), ("joint", 8)] if task.colour else [("auto", 12)]
        for (channels, size), k in product(forms, (2, 4, 8, 12, 16, 24, 32, 48)):
            model = PatchDenoiser(LinearAutoencoder(k), patch_size=size, augment=False)
            model.set_params(channels=channels, random_state=0)
            label = f"{k} components{', ' + channels if task.colour else ''}"
            yield label, model.fit(task.train).reconstruct
        return
    X = as_rows(task.train)
    full = PCA(200, random_state=0).fit(X)
    for k in (5, 10, 15, 20, 30, 40, 60, 100, 200):
        axes = full.components_[:k]

        def denoise(image: np.ndarray, axes: np.ndarray = axes) -> np.ndarray:
            row = np.where(np.isnan(image.ravel()), full.mean_, image.ravel()) - full.mean_
            return (full.mean_ + row @ axes.T @ axes).reshape(image.shape)

        yield f"{k} components", denoise


def as_rows(images: Images) -> np.ndarray:
    """Return images of one size as rows."""
    return np.stack(images).reshape(len(images), -1)


def by_skae(task: Task, noise: str, level: float) -> Iterator[tuple[str, Denoise]]:
    """Yield the settings and the function of our own denoisers."""
    rows = DenoisingAutoencoder(noise=noise, noise_level=level, per_feature=False, random_state=0)
    rows.set_params(max_iter=task.epochs, early_stopping=False)
    patches = PatchDenoiser(
        clone(rows).set_params(hidden_layer_sizes=512),
        patch_size=12,
        stride=2 if task.of_photographs else 1,
        center=noise != "salt_and_pepper",  # black and white pixels change the mean of a patch
        augment=task.of_photographs,  # digits have a direction
        max_patches=100_000,
        random_state=0,
    )
    if not task.colour or patches.center:
        yield "patches", clone(patches).fit(task.train).reconstruct
    if task.colour:
        joint = patches.set_params(channels="joint", patch_size=8)
        yield "patches, joint channels", joint.fit(task.train).reconstruct
    if task.of_photographs:
        return
    for loss in ("squared_error", "absolute_error")[: 1 + (noise == "salt_and_pepper")]:
        for kind, settings in (
            ("dense", {"hidden_layer_sizes": 1000}),
            ("convolutional", {"architecture": Conv(hidden_layer_sizes=512), "n_components": 256}),
        ):
            model = clone(rows).set_params(loss=loss, **settings).fit(as_rows(task.train))
            yield (
                f"whole images, {kind}, {loss}",
                lambda x, m=model: m.reconstruct(x.reshape(1, -1)).reshape(x.shape),
            )


def candidates(
    task: Task, noise: str, level: float, pca: list[tuple[str, Denoise]]
) -> Iterator[tuple[str, str, Denoise]]:
    """Yield name, settings and function of everything that is compared."""
    for settings, f in pca:
        yield "PCA", settings, f
    for name, settings, f in filters(task, noise, level):
        yield name, settings, lambda x, f=f: f(filled(x, task.axis))
    if noise == "masking":
        yield "mean of neighbours", "", partial(filled, axis=task.axis)
        yield "biharmonic inpainting", "", partial(biharmonic, axis=task.axis)
    for settings, f in by_skae(task, noise, level):
        yield "skae, joint channels" if "joint" in settings else "skae", settings, f


# ------------------------------------------------------------------------------------- measures


def measures(results: Images, task: Task) -> tuple[float, float]:
    """Return the mean PSNR and SSIM of results."""
    psnr = [
        -10 * np.log10(np.mean((x_hat - x) ** 2, dtype=float))
        for x_hat, x in zip(results, task.test, strict=True)
    ]
    ssim = [
        structural_similarity(x, x_hat, data_range=1, channel_axis=task.axis)
        for x_hat, x in zip(results, task.test, strict=True)
    ]
    return float(np.mean(psnr)), float(np.mean(ssim))


def forms(task: Task, noise: str, noisy: Images) -> Iterator[tuple[str, str, Images]]:
    """Yield a label, the kind of noise and the images, in the ways to look at them."""
    yield "", noise, noisy
    if noise == "salt_and_pepper" and task.of_photographs:
        marked = []
        for image in noisy:
            extreme = (image == 0) | (image == 1)
            extreme = extreme.all(axis=-1, keepdims=True) if task.colour else extreme
            marked.append(np.where(extreme, np.float32(np.nan), image))
        yield "black and white as missing", "masking", marked


def measure(task: Task, names: list[str], which: str) -> tuple[list[dict], dict]:
    """Return a record per noise and method, with its best settings, and the first results."""
    best: dict[tuple[str, str], dict] = {}
    pictures, pca = {}, list(by_pca(task))
    n_pictured = 1 if task.of_photographs else 4

    def add(name: str, method: str, results: Images, **settings: object) -> None:
        results = [np.asarray(x, dtype=np.float32).clip(0, 1) for x in results]
        psnr, ssim = measures(results, task)
        if (name, method) not in best or psnr > best[name, method]["psnr"]:
            best[name, method] = {"psnr": psnr, "ssim": ssim, **settings}
            pictures[name, method] = results[:n_pictured]

    for name in names:
        noise, level = NOISES[name]
        noisy = [corrupted(x, noise, level, seed) for seed, x in enumerate(task.test)]
        add(name, "noisy", [np.nan_to_num(y) for y in noisy])
        for form, kind, images in forms(task, noise, noisy):
            for method, settings, denoise in candidates(task, kind, level, pca):
                start = time.perf_counter()
                results = [denoise(y) for y in images]
                seconds = (time.perf_counter() - start) / len(images)
                if kind == "masking":
                    both = zip(images, results, strict=True)
                    results = [np.where(np.isnan(y), x, y) for y, x in both]
                settings = ", ".join(filter(None, (form, settings)))
                add(name, method, results, settings=settings, seconds_per_image=seconds)
        pictures[name, "clean"] = task.test[:n_pictured]
    records = [{"data": which, "noise": n, "method": m, **r} for (n, m), r in best.items()]
    return records, pictures


def tasks(arguments: argparse.Namespace) -> Iterator[tuple[str, Task]]:
    """Yield a label and what to denoise."""
    quick, colour = arguments.quick, arguments.colour
    if arguments.data == "mnist":
        if "SKAE_DATA" not in os.environ:
            raise SystemExit("SKAE_DATA is not set; it names the folder of images/mnist.npz")
        n_train, n_test = (2000, 20) if quick else (arguments.n_train, arguments.n_test)
        with np.load(Path(os.environ["SKAE_DATA"]) / "images" / "mnist.npz") as file:
            train = file["X_train"][:n_train].reshape(-1, 28, 28) / np.float32(255)
            test = file["X_test"][:n_test].reshape(-1, 28, 28) / np.float32(255)
        yield "mnist", Task(list(train), list(test), arguments.epochs, colour=False)
        return

    def floats(image: np.ndarray) -> np.ndarray:
        image = image[:: 4 if quick else 1, :: 4 if quick else 1] / np.float32(255)
        return image if colour else image @ LUMINANCE

    china, flower = map(floats, load_sample_images().images)
    if arguments.train == "other":
        yield "china", Task([flower], [china], arguments.epochs, colour)
        yield "flower", Task([china], [flower], arguments.epochs, colour)
        return
    names = ("astronaut", "coffee", "chelsea", "rocket")
    others = [getattr(skimage_data, name)() for name in names]
    train = [floats(x) for x in (*others, skimage_data.stereo_motorcycle()[0])]
    yield "both", Task(train, [china, flower], arguments.epochs, colour)


# ----------------------------------------------------------------------------- tables and pictures


def show(records: list[dict], title: str) -> None:
    """Print a line per method and a column per noise; the best of a column is bold."""
    table = Table(title=title, box=None, title_justify="left")
    table.add_column("PSNR, dB (SSIM)", no_wrap=True)
    noises = list(dict.fromkeys(r["noise"] for r in records))
    for noise in noises:
        table.add_column(noise, justify="right")
    at = {(r["noise"], r["method"]): r for r in records}
    highest = {n: max(r["psnr"] for r in records if r["noise"] == n) for n in noises}
    for method in dict.fromkeys(r["method"] for r in records):
        cells = []
        for noise in noises:
            r = at.get((noise, method))
            text = "" if r is None else f"{r['psnr']:.2f} ({r['ssim']:.3f})"
            cells.append(f"[bold]{text}" if r and r["psnr"] == highest[noise] else text)
        table.add_row(method, *cells)
    show_table(table, width=150)


def draw(pictures: dict, records: list[dict], path: Path) -> None:
    """Write a picture with a row per noise: a crop of a photograph, or four digits.

    PSNR is that of all test images.
    """
    import matplotlib.pyplot as plt

    noises = list(dict.fromkeys(noise for noise, _ in pictures))
    figure, axes = plt.subplots(
        len(noises),
        len(PICTURED),
        figsize=(2 * len(PICTURED), 2.15 * len(noises)),
        squeeze=False,
        layout="constrained",
    )
    psnr = {(r["noise"], r["method"]): r["psnr"] for r in records}
    for noise, row in zip(noises, axes, strict=True):
        for method, ax in zip(PICTURED, row, strict=True):
            images = pictures[noise, method]
            ax.imshow(_cropped(images), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            value = "" if method == "clean" else f" {psnr[noise, method]:.1f} dB"
            ax.set_title(f"{method}{value}", fontsize=8)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(noise, fontsize=8)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _cropped(images: Images) -> np.ndarray:
    """Return four digits as a square, or a square of a photograph."""
    if len(images) == 1:
        i, j = (n // 3 for n in images[0].shape[:2])
        return images[0][i : i + 112, j : j + 112]
    return np.block([[images[0], images[1]], [images[2], images[3]]])


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("photographs", "mnist"), default="photographs")
    parser.add_argument("--train", choices=("other", "skimage"), default="other")
    parser.add_argument("--colour", action="store_true", help="photographs in colour")
    parser.add_argument("--noises", nargs="*", choices=list(NOISES), default=list(NOISES))
    parser.add_argument("--epochs", type=int, default=8, help="of each fit (default 8)")
    parser.add_argument("--n-train", type=int, default=60_000, help="images of MNIST to train on")
    parser.add_argument("--n-test", type=int, default=1000, help="images of MNIST to denoise")
    parser.add_argument("--quick", action="store_true", help="small images: does it run?")
    parser.add_argument("--json", type=Path, help="write every record here")
    parser.add_argument("--figure", type=Path, help="write a picture here (PNG)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", AutoencoderWarning)
    warnings.filterwarnings("ignore", "Level value of .* is too high")  # of wavelets
    records: list[dict] = []
    for name, task in tasks(arguments):
        found, pictures = measure(task, arguments.noises, name)
        records += found
        show(found, f"{name}{', in colour' if arguments.colour else ''}")
        if arguments.figure is not None:
            path = arguments.figure
            draw(pictures, found, path.with_stem(f"{path.stem}_{name}"))
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()
