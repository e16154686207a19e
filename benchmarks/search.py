"""Search of MNIST by codes of few bits: how many of the images found show the digit of the query.

1,000 test images are searched among the 60,000 training images, which are fitted to without labels.
P@100 is the share of the query's digit among the 100 nearest, mAP the mean average precision of
the whole order. Beside `AutoencoderSearch`: distances of pixels, signs of principal components, of
these after iterative quantisation (ITQ) and of random projections (LSH), all by Hamming distance,
and product quantisation by faiss-cpu, if installed. MNIST is in $SKAE_DATA/images/mnist.npz.

    python benchmarks/search.py --json out.json --figure search.png
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from report import show_table, write_json
from rich.table import Table
from sklearn.decomposition import PCA

from skae import MLP, AutoencoderSearch, QuantizedAutoencoder
from skae.autoencoders._binary_code import rotation_to_signs

N_QUERIES = 1000
N_FOUND = 100
BITS = (16, 32, 64)
QUERIES_AT_ONCE = 100


class Data:
    """The images that are stored, the queries, and the digits of both."""

    def __init__(self, quick: bool):
        if "SKAE_DATA" not in os.environ:
            raise SystemExit("SKAE_DATA is not set; it names the folder of images/mnist.npz")
        n = 3000 if quick else 60_000
        with np.load(Path(os.environ["SKAE_DATA"]) / "images" / "mnist.npz") as file:
            self.base, self.queries = (
                file[key][:rows].reshape(rows, -1) / np.float32(255)
                for key, rows in (("X_train", n), ("X_test", N_QUERIES))
            )
            self.y, self.y_queries = file["y_train"][:n], file["y_test"][:N_QUERIES]

    def quality(self, distances_of: object) -> dict[str, float]:
        """Return P@100 and mAP of a function from slices of queries to distances to all images."""
        shares, precisions = [], []
        for start in range(0, N_QUERIES, QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            order = np.argsort(distances_of(part), axis=1, kind="stable")
            hit = self.y[order] == self.y_queries[part, None]
            shares.append(hit[:, :N_FOUND].mean(1))
            precision = hit.cumsum(1) / np.arange(1, hit.shape[1] + 1)
            precisions.append((precision * hit).sum(1) / hit.sum(1))
        return {"p100": float(np.mean(shares)), "map": float(np.mean(precisions))}


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances, (n_a, n_b)."""
    return (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)


def by_signs(data: Data, base: np.ndarray, queries: np.ndarray) -> dict[str, float]:
    """Return the quality of Hamming distances between the signs of two matrices."""
    stored, asked = (np.where(part >= 0, 1, -1).astype(np.float32) for part in (base, queries))
    return data.quality(lambda part: -asked[part] @ stored.T)


def linear_codes(data: Data, n_bits: int) -> Iterator[dict]:
    """Yield the quality of codes by linear maps."""
    start = time.perf_counter()
    pca = PCA(n_bits, random_state=0).fit(data.base)
    base, queries = pca.transform(data.base), pca.transform(data.queries)
    record = by_signs(data, base, queries)
    yield {"what": "PCA signs", **record, "seconds": time.perf_counter() - start}
    start = time.perf_counter()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        R = rotation_to_signs(torch.from_numpy(base), torch.ones(len(base))).numpy()
    record = by_signs(data, base @ R, queries @ R)
    yield {"what": "ITQ", **record, "seconds": time.perf_counter() - start}
    start = time.perf_counter()
    axes = np.random.default_rng(0).normal(size=(data.base.shape[1], n_bits))
    record = by_signs(data, (data.base - pca.mean_) @ axes, (data.queries - pca.mean_) @ axes)
    yield {"what": "LSH", **record, "seconds": time.perf_counter() - start}


def product_quantisation(data: Data, n_bits: int) -> Iterator[dict]:
    """Yield the quality of asymmetric distances to codes of faiss, with 8 bits per part."""
    if find_spec("faiss") is None:
        return
    import faiss

    start = time.perf_counter()
    n_parts = n_bits // 8
    pca = PCA(n_parts * 16, random_state=0).fit(data.base)  # whose columns are divided evenly
    base, queries = (
        np.ascontiguousarray(pca.transform(part), np.float32) for part in (data.base, data.queries)
    )
    quantiser = faiss.ProductQuantizer(base.shape[1], n_parts, 8)
    quantiser.train(base)
    restored = quantiser.decode(quantiser.compute_codes(base))
    record = data.quality(lambda part: squared_distances(queries[part], restored))
    yield {"what": "product quantisation (faiss)", **record, "seconds": time.perf_counter() - start}


def autoencoders(data: Data, n_bits: int, epochs: int) -> Iterator[tuple[dict, AutoencoderSearch]]:
    """Yield the quality and the time of searches by autoencoders, and the fitted search."""
    settings = {"max_iter": epochs, "early_stopping": False, "random_state": 0}
    for name, estimator in (
        ("AutoencoderSearch()", None),
        (
            f"MLP((1024, 512)), {epochs} epochs",
            QuantizedAutoencoder(
                n_bits,
                architecture=MLP((1024, 512)),
                mask_ratio=0.5,
                n_neighbors=10,
                learning_rate=1e-3,
                **settings,
            ),
        ),
    ):
        search = AutoencoderSearch(estimator, n_bits=n_bits, random_state=0)
        start = time.perf_counter()
        search.fit(data.base)
        seconds = time.perf_counter() - start
        model = search.estimator_
        record = by_signs(data, model.transform(data.base), model.transform(data.queries))
        search.kneighbors(data.queries[:10], N_FOUND)
        times = []
        for _ in range(5):
            start = time.perf_counter()
            search.kneighbors(data.queries, N_FOUND)
            times.append((time.perf_counter() - start) / N_QUERIES)
        milliseconds = 1e3 * float(np.median(times))
        yield {"what": name, **record, "seconds": seconds, "query_ms": milliseconds}, search


def measure(data: Data, bits: tuple[int, ...], epochs: int) -> tuple[list[dict], AutoencoderSearch]:
    """Return a record per method and number of bits, and the last search of 32 bits."""
    records = []
    quality = data.quality(lambda part: squared_distances(data.queries[part], data.base))
    records.append({"what": "pixels", "bits": 8 * data.base.shape[1], **quality})
    shown = None
    for n_bits in bits:
        records += [r | {"bits": n_bits} for r in linear_codes(data, n_bits)]
        records += [r | {"bits": n_bits} for r in product_quantisation(data, n_bits)]
        for record, search in autoencoders(data, n_bits, epochs):
            records.append(record | {"bits": n_bits})
            shown = search if n_bits <= 32 else shown
            print(records[-1], flush=True)
    return records, shown


def show(records: list[dict]) -> None:
    """Print a line per method and number of bits."""
    table = Table(title="MNIST, 1,000 queries among the training images, by digit", box=None)
    for column in ("bits", "method", "P@100", "mAP", "fit, seconds", "a query, ms"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for r in records:
        seconds = f"{r['seconds']:.0f}" if "seconds" in r else ""
        query = f"{r['query_ms']:.3f}" if "query_ms" in r else ""
        figures = [f"{r['p100']:.3f}", f"{r['map']:.3f}"]
        table.add_row(str(r["bits"]), r["what"], *figures, seconds, query)
    show_table(table, width=100)


def draw(path: Path, data: Data, search: AutoencoderSearch) -> None:
    """Draw queries and what was found for them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from skae.displays import RetrievalDisplay

    # Of each digit, a query for which some of the images found show another one, if there is any.
    found = search.kneighbors(data.queries, 10, return_distance=False)
    wrong = (data.y[found] != data.y_queries[:, None]).sum(1)
    chosen = []
    for digit in range(10):
        own = np.flatnonzero(data.y_queries == digit)
        chosen.append(own[np.argsort(wrong[own], kind="stable")[int(0.9 * len(own))]])
    display = RetrievalDisplay.from_estimator(
        search,
        data.queries[chosen],
        X_stored=data.base,
        y=data.y_queries[chosen],
        y_stored=data.y,
        n_neighbors=10,
        image_shape=(28, 28),
    )
    display.figure_.suptitle("Queries of MNIST, and the nearest of 60,000 images by 32 bits")
    path.parent.mkdir(parents=True, exist_ok=True)
    display.figure_.savefig(path, dpi=110)
    plt.close(display.figure_)


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, nargs="+", default=BITS)
    parser.add_argument("--epochs", type=int, default=10, help="of the larger network")
    parser.add_argument("--quick", action="store_true", help="1 epoch, 3,000 images: does it run?")
    parser.add_argument("--json", type=Path, help="write every record here")
    parser.add_argument("--figure", type=Path, help="draw queries and what was found here")
    arguments = parser.parse_args()
    data = Data(arguments.quick)
    epochs = 1 if arguments.quick else arguments.epochs
    records, search = measure(data, tuple(arguments.bits), epochs)
    show(records)
    write_json(arguments.json, records)
    if arguments.figure is not None:
        draw(arguments.figure, data, search)


if __name__ == "__main__":
    main()
