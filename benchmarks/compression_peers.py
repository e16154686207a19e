"""What compression is compared with: PCA in equal steps, image codecs and zstandard."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import numpy as np
from scipy.interpolate import PchipInterpolator
from sklearn.decomposition import PCA

from skae.compression._coder import encode
from skae.compression._tables import CodeTables
from skae.compression._tolerance import Tolerance

MAX_COMPONENTS = 200
QUALITIES = {
    "JPEG": (1, 3, 5, 8, 12, 18, 25, 35, 50, 70),
    "WebP": (0, 1, 3, 6, 10, 18, 30, 45, 60, 80),
    "AVIF": (0, 2, 5, 10, 18, 25, 35, 45, 55, 70),
}


def psnr(x_hat: np.ndarray, x: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of images of uint8, in dB."""
    return float(10 * np.log10(255**2 / np.square(x_hat.astype(float) - x).mean()))


class PCACodec:
    """Principal components in equal steps, entropy-coded by tables of counts."""

    def __init__(self, train: np.ndarray, n_components: int | None = None):
        self.train = train
        most = min(MAX_COMPONENTS, *train.shape)
        self.pca = PCA(n_components or most, svd_solver="full" if most < 200 else "auto")
        self.scores = self.pca.set_params(random_state=0).fit_transform(train)

    def reconstruct(self, indices: np.ndarray, step: float) -> np.ndarray:
        """Return the samples of rounded components."""
        return self.pca.inverse_transform(indices * step)

    def bits_and_samples(self, test: np.ndarray, step: float) -> tuple[float, np.ndarray]:
        """Return the bits per sample, and what is decoded."""
        tables = CodeTables().fit(np.rint(self.scores / step).astype(int))
        indices = np.rint(self.pca.transform(test) / step).astype(int)
        n_bits = 8 * len(encode(indices, tables)) / len(test)
        return n_bits, self.reconstruct(indices, step)

    def bits_within(self, test: np.ndarray, step: float, tolerance: Tolerance) -> float:
        """Return the bits per sample with corrections to a maximum error."""
        samples = self.train, test
        codes = [np.rint(self.pca.transform(X) / step).astype(int) for X in samples]
        restored = [self.reconstruct(indices, step) for indices in codes]
        train, new = (
            np.hstack([indices, tolerance.corrections(X, x_hat)])
            for X, indices, x_hat in zip(samples, codes, restored, strict=True)
        )
        return 8 * len(encode(new, CodeTables().fit(train))) / len(test)


def images_by_codec(
    name: str, images: Iterable[np.ndarray]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield the quality, the number of bits and the images for each quality of a codec."""
    from PIL import Image

    images = list(images)
    for quality in QUALITIES[name]:
        n_bits, decoded = 0, []
        for image in images:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, name, quality=quality)
            n_bits += 8 * buffer.tell()
            with Image.open(buffer) as found:
                decoded.append(np.asarray(found.convert("L" if image.ndim == 2 else "RGB")))
        yield quality, n_bits, np.stack(decoded)


def zstd_bits(columns: np.ndarray) -> float:
    """Return the bits per row of integer columns compressed by zstandard, one after the other."""
    import zstandard

    compressor = zstandard.ZstdCompressor(level=19)
    n_bytes = 0
    for column in columns.T:
        shifted = column - column.min()
        dtype = np.min_scalar_type(int(shifted.max()))
        n_bytes += len(compressor.compress(shifted.astype(dtype).tobytes()))
    return 8 * n_bytes / len(columns)


def relative_rate(
    curve: list[tuple[float, float]], base: list[tuple[float, float]], over: tuple[float, float]
) -> tuple[float, float, float] | None:
    """Return the mean difference of rates at equal quality, relative to the base (Bjøntegaard).

    Curves are lists of rates and qualities. Logarithms of rates are interpolated by cubic splines
    without overshooting, and averaged over the part of a range that both curves cover, which is
    returned, too; None if it is shorter than a tenth of the range.
    """
    splines = []
    low, high = over
    for points in (curve, base):
        least: dict[float, float] = {}
        for rate, quality in points:
            least[quality] = min(rate, least.get(quality, np.inf))
        quality, rate = zip(*sorted(least.items()), strict=True)
        splines.append(PchipInterpolator(quality, np.log(rate)))
        low, high = max(low, quality[0]), min(high, quality[-1])
    if high - low < (over[1] - over[0]) / 10:
        return None
    grid = np.linspace(low, high, 200)
    return float(np.exp(np.mean(splines[0](grid) - splines[1](grid))) - 1), low, high
