"""Compression of MNIST, photographs and tables: bits at equal quality, beside common codecs.

MNIST: bits per test image and PSNR of all test images, of `AutoencoderCompressor` with dense
and convolutional networks, of PCA in equal steps, whose components are entropy-coded in the same
way, and of the codecs of Pillow on one mosaic of all test images. Photographs: patches of one of
scikit-learn's two photographs are trained on, the other is compressed, and the reverse. Tables:
bits per row at a maximum error of 1 % of each column's range. MNIST and the tables are read from
$SKAE_DATA. The coder itself: a million random codes, its speed and the excess of its length.

    python benchmarks/compression.py --jobs 8 --json out.json --figure compression.png
    python benchmarks/compression.py --parts tables coder

WebP and AVIF need Pillow, zstandard its package.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from compression_peers import PCACodec, images_by_codec, psnr, relative_rate, zstd_bits
from joblib import Parallel, delayed
from report import show_table, write_json
from rich.table import Table
from sklearn.datasets import load_sample_images

from skae import MLP, Autoencoder, AutoencoderCompressor, Conv
from skae.compression._coder import decode, encode
from skae.compression._tables import CodeTables
from skae.compression._tolerance import Tolerance

RATE_WEIGHTS = (8.0, 5.5, 3.8, 2.6, 1.7, 1.1, 0.7, 0.45)
STEPS = (500, 420, 350, 290, 240, 200, 165, 135, 110, 90)  # of principal components of uint8
RANGE = (18.0, 24.0)  # dB
PATCH = 8
PHOTO_WEIGHTS = (0.3, 0.1, 0.03, 0.01, 0.003)
PHOTO_STEPS = (150, 90, 50, 30, 18, 10)
PHOTO_RANGE = (28.0, 36.0)
N_PATCHES = 30_000
PHOTO_EPOCHS = 10
TOLERANCE = 0.01  # of the range of each column
TABLES = ("concrete", "kin8nm", "letter", "naval", "wine_red")
TABLE_WEIGHTS = (100.0, 1.0, 0.1, 0.01, 0.001)
TABLE_STEPS = (0.5, 1, 2, 4, 8, 16, 1e6)  # in units of the largest error


def data_folder() -> Path:
    """Return the folder of the data."""
    if "SKAE_DATA" not in os.environ:
        raise SystemExit("SKAE_DATA is not set; it names the folder of images/mnist.npz")
    return Path(os.environ["SKAE_DATA"])


def load_mnist(quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test images as rows of uint8."""
    n_train, n_test = (2000, 900) if quick else (60_000, 10_000)
    with np.load(data_folder() / "images" / "mnist.npz") as file:
        train, test = file["X_train"][:n_train], file["X_test"][:n_test]
    return train.reshape(n_train, -1), test.reshape(n_test, -1)


def fit_point(
    name: str, model: AutoencoderCompressor, train: np.ndarray, test: np.ndarray
) -> tuple[dict, np.ndarray]:
    """Return what a compressor reaches on test images, and its reconstructions."""
    start = time.perf_counter()
    model.fit(train)
    seconds = time.perf_counter() - start
    data = model.compress(test)
    x_hat = model.decompress(data)
    if not np.array_equal(x_hat, model.reconstruct(test)):
        raise AssertionError("decompressed images are not the reconstructed ones")
    record = {
        "what": name,
        "setting": model.rate_weight,
        "bits": 8 * len(data) / len(test),
        "psnr": psnr(x_hat, test),
        "excess": 8 * len(data) / model.rate(test).sum() - 1,
        "seconds": seconds,
    }
    return record, x_hat


def compressors(
    kinds: dict[str, Autoencoder], weights: tuple[float, ...]
) -> list[tuple[str, AutoencoderCompressor]]:
    """Return an unfitted compressor for each architecture and weight of the rate."""
    return [
        (name, AutoencoderCompressor(estimator, rate_weight=weight, random_state=0))
        for name, estimator in kinds.items()
        for weight in weights
    ]


def measure_mnist(epochs: int, jobs: int, quick: bool) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Return a record per point of each curve, and reconstructions by some of them."""
    train, test = load_mnist(quick)
    settings = {"max_iter": epochs, "early_stopping": False, "schedule": "warm_up_cosine"}
    kinds = {
        "dense": Autoencoder(64, architecture=MLP((1024, 512)), **settings),
        "conv": Autoencoder(
            64, architecture=Conv((32, 64), image_shape=(28, 28)), batch_size=256, **settings
        ),
    }
    points = Parallel(n_jobs=jobs)(
        delayed(fit_point)(name, model, train, test)
        for name, model in compressors(kinds, RATE_WEIGHTS)
    )
    codec = PCACodec(train.astype(np.float32))
    for step in STEPS:
        bits, x_hat = codec.bits_and_samples(test.astype(np.float32), step)
        x_hat = np.clip(np.rint(x_hat), 0, 255).astype(np.uint8)
        record = {"what": "PCA", "setting": step, "bits": bits, "psnr": psnr(x_hat, test)}
        points.append((record, x_hat))
    side = int(len(test) ** 0.5)
    mosaic = test[: side**2].reshape(side, side, 28, 28).swapaxes(1, 2).reshape(side * 28, -1)
    for name in ("JPEG", "WebP", "AVIF"):
        for quality, bits, (found,) in images_by_codec(name, [mosaic]):
            x_hat = found.reshape(side, 28, side, 28).swapaxes(1, 2).reshape(side**2, -1)
            record = {"what": name, "setting": quality, "bits": bits / side**2}
            points.append((record | {"psnr": psnr(x_hat, test[: side**2])}, x_hat))
    return [r | {"data": "MNIST"} for r, _ in points], pictures(points, test)


def pictures(points: list, test: np.ndarray) -> dict[str, np.ndarray]:
    """Return the original images, and those at about 60 bits or the fewest of a codec."""
    shown = {"original": test[:10]}
    for name in ("conv", "PCA", "AVIF", "WebP"):
        own = [(r, x_hat) for r, x_hat in points if r["what"] == name]
        record, x_hat = min(own, key=lambda point: abs(point[0]["bits"] - 60))
        shown[f"{name}, {record['bits']:.0f} bits"] = x_hat[:10]
    return shown


def patches_of(image: np.ndarray) -> np.ndarray:
    """Return the patches of an image that do not overlap, as rows."""
    height, width = (n // PATCH * PATCH for n in image.shape[:2])
    cut = image[:height, :width].reshape(height // PATCH, PATCH, width // PATCH, PATCH, 3)
    return cut.swapaxes(1, 2).reshape(-1, PATCH * PATCH * 3)


def random_patches(image: np.ndarray) -> np.ndarray:
    """Return patches at random positions, turned, recoloured and of random contrast, as rows."""
    rng = np.random.default_rng(0)
    rows = rng.integers(image.shape[0] - PATCH + 1, size=N_PATCHES)
    columns = rng.integers(image.shape[1] - PATCH + 1, size=N_PATCHES)
    windows = np.lib.stride_tricks.sliding_window_view(image, (PATCH, PATCH), axis=(0, 1))
    patches = windows[rows, columns].transpose(0, 2, 3, 1).astype(float)
    for change in (lambda p: p[:, ::-1], lambda p: p[:, :, ::-1], lambda p: p.swapaxes(1, 2)):
        some = rng.random(N_PATCHES) < 0.5
        patches[some] = change(patches[some])
    channels = rng.permuted(np.tile(np.arange(3), (N_PATCHES, 1)), axis=1)
    patches = np.take_along_axis(patches, channels[:, None, None], axis=3)
    mean = patches.mean(axis=(1, 2), keepdims=True)
    contrast = np.exp(rng.normal(0, 0.5, size=(N_PATCHES, 1, 1, 1)))
    share = rng.random((N_PATCHES, 1, 1, 1))
    other = rng.uniform(0, 255, size=mean.shape)
    patches = contrast * (patches - mean) + share * mean + (1 - share) * other
    return np.clip(np.rint(patches), 0, 255).astype(np.uint8).reshape(N_PATCHES, -1)


def measure_photographs(epochs: int, jobs: int) -> list[dict]:
    """Return a record per point of each curve, of both directions; bits are those of a pixel."""
    records = []
    photographs = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    for trained, tested in (("china", "flower"), ("flower", "china")):
        train, test = random_patches(photographs[trained]), patches_of(photographs[tested])
        settings = {"max_iter": epochs, "schedule": "warm_up_cosine", "learning_rate": 3e-4}
        kinds = {"dense": Autoencoder(96, architecture=MLP((512, 256)), **settings)}
        points = [
            record
            for record, _ in Parallel(n_jobs=jobs)(
                delayed(fit_point)(name, model, train, test)
                for name, model in compressors(kinds, PHOTO_WEIGHTS)
            )
        ]
        codec = PCACodec(train.astype(np.float32))
        for step in PHOTO_STEPS:
            bits, x_hat = codec.bits_and_samples(test.astype(np.float32), step)
            quality = psnr(np.clip(np.rint(x_hat), 0, 255), test)
            points.append({"what": "PCA", "setting": step, "bits": bits, "psnr": quality})
        for name in ("JPEG", "WebP", "AVIF"):
            for setting, bits, found in images_by_codec(name, [photographs[tested]]):
                quality = psnr(found[0], photographs[tested])
                per_patch = bits / photographs[tested][..., 0].size * PATCH**2
                points.append(
                    {"what": name, "setting": setting, "bits": per_patch, "psnr": quality}
                )
        records += [r | {"data": tested, "bits": r["bits"] / PATCH**2} for r in points]
    return records


def measure_table(name: str, quick: bool) -> dict:
    """Return the bits per row of a table at the tolerance, by each method."""
    with np.load(data_folder() / "imputation" / f"{name}.npz") as file:
        X = np.random.default_rng(0).permutation(file["X"].astype(float))
    X = X[:500] if quick else X
    X = X[:, np.ptp(X, axis=0) > 0]
    max_error = TOLERANCE * np.ptp(X, axis=0)
    n = len(X) * 7 // 10
    train, test = X[:n], X[n:]
    fit, validation = train[: n * 8 // 10], train[n * 8 // 10 :]
    numbers = np.zeros(X.shape[1], bool)
    tolerance = Tolerance.of(max_error, numbers, numbers, np.zeros(X.shape[1]))

    def compressor(weight: float) -> AutoencoderCompressor:
        return AutoencoderCompressor(rate_weight=weight, max_error=max_error, random_state=0)

    weight = min(TABLE_WEIGHTS, key=lambda w: compressor(w).fit(fit).rate(validation).mean())
    start = time.perf_counter()
    model = compressor(weight).fit(train)
    seconds = time.perf_counter() - start
    data = model.compress(test)
    x_hat = model.decompress(data)
    exact = np.array_equal(x_hat, model.reconstruct(test))
    if not exact or (np.abs(x_hat - test) > max_error).any():
        raise AssertionError(f"{name} was not restored within the tolerance")
    unit = Tolerance.of(1.0, numbers, numbers, np.zeros(X.shape[1]))
    whole = PCACodec(train / max_error, train.shape[1])
    part = PCACodec(fit / max_error, train.shape[1])
    step = min(TABLE_STEPS, key=lambda s: part.bits_within(validation / max_error, s, unit))
    quantised = [np.rint(part / tolerance.step).astype(int) for part in (train, test)]
    columns = CodeTables().fit(quantised[0]).bits(quantised[1]).sum(1).mean()
    return {
        "what": "table",
        "data": name,
        "shape": X.shape,
        "rate_weight": weight,
        "skae": model.rate(test).mean(),
        "stream": 8 * len(data) / len(test),
        "pca": whole.bits_within(test / max_error, step, unit),
        "columns": columns,
        "zstd": zstd_bits(quantised[1]),
        "excess": 8 * len(data) / model.rate(test).sum() - 1,
        "seconds": seconds,
    }


def measure_coder() -> list[dict]:
    """Return the speed and the excess length of the coder on a million random codes."""
    rng = np.random.default_rng(0)
    records = []
    for name, codes in (
        ("normal", np.rint(rng.normal(0, np.linspace(0.3, 20, 32), size=(31_250, 32)))),
        ("Laplace", np.rint(rng.laplace(0, np.linspace(0.3, 20, 32), size=(31_250, 32)))),
        ("Cauchy", np.rint(1e3 * rng.standard_cauchy(size=(31_250, 32)))),
        ("98 % zeros", rng.integers(1, 4, (31_250, 32)) * (rng.random((31_250, 32)) < 0.02)),
    ):
        codes = codes.astype(np.int64)
        tables = CodeTables().fit(codes)
        encode(codes[:10], tables)  # builds the models of the columns
        start = time.perf_counter()
        data = encode(codes, tables)
        middle = time.perf_counter()
        again = decode(data, len(codes), tables)
        end = time.perf_counter()
        if not np.array_equal(again, codes):
            raise AssertionError("codes are not decoded to the bit")
        records.append(
            {
                "what": "coder",
                "data": name,
                "encode": codes.size / (middle - start),
                "decode": codes.size / (end - middle),
                "excess": 8 * len(data) / tables.bits(codes).sum() - 1,
            }
        )
    return records


def show_curves(records: list[dict], title: str, unit: str, over: tuple[float, float]) -> None:
    """Print the points of each curve, and its rate relative to PCA's at equal quality."""
    table = Table(title=title, box=None)
    table.add_column("")
    table.add_column(f"{unit} at dB")
    table.add_column(f"rate, relative to PCA, within {over[0]:g} to {over[1]:g} dB")
    curves: dict[str, list[tuple[float, float]]] = {}
    for r in records:
        curves.setdefault(r["what"], []).append((r["bits"], r["psnr"]))
    for name, points in curves.items():
        shown = ", ".join(f"{bits:.3g} at {quality:.1f}" for bits, quality in sorted(points))
        found = relative_rate(points, curves["PCA"], over)
        relative = "" if found is None else "{:+.0%} from {:.1f} to {:.1f}".format(*found)
        table.add_row(name, shown, relative)
    show_table(table, width=150)


def show_tables(records: list[dict]) -> None:
    """Print the bits per row of each table."""
    table = Table(title="Bits per row, errors of at most 1 % of each column's range", box=None)
    for column in ("table", "shape", "skae", "PCA", "columns", "zstd", "seconds"):
        table.add_column(column, justify="left" if column in ("table", "shape") else "right")
    for r in records:
        figures = [f"{r[key]:.1f}" for key in ("skae", "pca", "columns", "zstd")]
        shape = " x ".join(map(str, r["shape"]))
        table.add_row(r["data"], shape, *figures, f"{r['seconds']:.0f}")
    show_table(table, width=100)


def show_coder(records: list[dict]) -> None:
    """Print the speed and the excess length."""
    table = Table(title="Coder, a million integers decoded to the bit", box=None)
    for column in ("codes", "encoded, million/s", "decoded, million/s", "length over the entropy"):
        table.add_column(column, justify="left" if column == "codes" else "right")
    for r in records:
        speeds = [f"{r[key] / 1e6:.1f}" for key in ("encode", "decode")]
        table.add_row(r["data"], *speeds, f"{100 * r['excess']:.4f} %")
    show_table(table, width=100)


def draw(path: Path, records: list[dict], shown: dict[str, np.ndarray]) -> None:
    """Draw the curves of MNIST, and images at equal numbers of bits."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11, 4))
    left, right = figure.add_gridspec(1, 2, left=0.06, right=0.99, bottom=0.12, top=0.92)
    axis = figure.add_subplot(left)
    for name in dict.fromkeys(r["what"] for r in records):
        points = sorted((r["bits"], r["psnr"]) for r in records if r["what"] == name)
        style = "o-" if name in ("dense", "conv") else ".--"
        axis.plot(*zip(*points, strict=True), style, label=name)
    axis.set(xscale="log", xlabel="bits per image", ylabel="PSNR (dB)", xlim=(15, 1500))
    axis.set(ylim=(15, 28), title="MNIST, 10,000 test images")
    axis.set_xticks([20, 50, 100, 200, 500, 1000], labels=["20", "50", "100", "200", "500", "1000"])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend()
    cells = right.subgridspec(len(shown), 12, wspace=0.06, hspace=0.06)  # 2 columns of text
    axes = [[figure.add_subplot(cells[i, j + 2]) for j in range(10)] for i in range(len(shown))]
    for line, (label, images) in zip(axes, shown.items(), strict=True):
        for cell, image in zip(line, images, strict=True):
            cell.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=255)
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_color("0.85")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("mnist", "photographs", "tables", "coder")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time, on a GPU")
    parser.add_argument("--quick", action="store_true", help="2 epochs, few rows: does it run?")
    parser.add_argument("--json", type=Path, help="write every record here")
    parser.add_argument("--figure", type=Path, help="draw the curves and images here")
    arguments = parser.parse_args()
    epochs = 2 if arguments.quick else arguments.epochs
    records: list[dict] = []
    if "coder" in arguments.parts:
        records += measure_coder()
        show_coder(records)
    if "tables" in arguments.parts:
        found = Parallel(n_jobs=arguments.jobs)(
            delayed(measure_table)(name, arguments.quick) for name in TABLES
        )
        show_tables(found)
        records += found
    if "mnist" in arguments.parts:
        found, shown = measure_mnist(epochs, arguments.jobs, arguments.quick)
        show_curves(found, "MNIST, bits per image", "bits", RANGE)
        records += found
    if "photographs" in arguments.parts:
        found = measure_photographs(min(epochs, PHOTO_EPOCHS), arguments.jobs)
        for name in ("flower", "china"):
            title = f"Photograph {name}, trained on the other, bits per pixel"
            show_curves([r for r in found if r["data"] == name], title, "bits", PHOTO_RANGE)
        records += found
    write_json(arguments.json, records)
    if "mnist" in arguments.parts and arguments.figure is not None:
        draw(arguments.figure, [r for r in records if r.get("data") == "MNIST"], shown)


if __name__ == "__main__":
    main()
