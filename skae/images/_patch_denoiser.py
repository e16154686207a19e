from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skae import _schema as schema
from skae._composite import Composite
from skae._sklearn import _fit_context
from skae._sklearn_types import BaseEstimator, clone, with_callbacks
from skae._validation import random_state_of, unchanged_on_error
from skae.autoencoders import DenoisingAutoencoder
from skae.base import CALLBACK_STATE, BaseAutoencoder
from skae.hyperparameters import POSITIVE_INT, hyperparameters, one_of, param
from skae.images._channels import by_rotated_channel, luminance
from skae.images._patches import augmented, average_of_patches, sample_patches
from skae.images._read import read_images

CONTRAST = 4.0  # largest factor by which the contrast of training patches is changed


@schema.persistent
@hyperparameters
class PatchDenoiser(Composite, BaseEstimator):
    r"""Denoising of images of any size by an autoencoder of their patches.

    ``fit`` trains an autoencoder on patches of clean images, each of which is a row of pixels.
    ``reconstruct`` reconstructs the overlapping patches of an image and averages them,

    .. math:: \hat x_p = \frac{1}{|\{k : p \in P_k\}|} \sum_{k : p \in P_k} r(x_{P_k})_p,

    where :math:`P_k` are the pixels of patch k, and r is the autoencoder. Patches begin every
    ``stride`` pixels; a last row and a last column of patches end at the border of the image.

    In colour, the channels of each pixel are rotated to luminance and colour differences by their
    orthonormal discrete cosine transform. The autoencoder is trained on patches of the luminance
    and applied to each of the rotated channels, and the results are rotated back. The rotation
    does not change gaussian noise, but concentrates the contrast of photographs in the luminance.

    An image is an array of shape (height, width), or (height, width, n_channels) in colour, of
    floats, uint8 or uint16. Integers are divided by the largest value of their dtype, so that
    noise levels are in the same units for integers and for floats in [0, 1]. Several images of
    different sizes are a list; a 3-D array whose last axis is not 1, 3 or 4 and a 4-D array have
    the images along the first axis.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    estimator_ : autoencoder
        The autoencoder, fitted to patches.
    patch_size_ : tuple of int
        Height and width of the patches.
    center_ : bool
        Whether the mean of each patch is subtracted.
    n_channels_ : int
        Number of channels of the images; 1 for grey ones.
    channels_ : str
        How the channels are denoised, "decorrelated" or "joint"; "joint" for grey images.

    See Also
    --------
    DenoisingAutoencoder : The default autoencoder; for small images of one size, as rows.
    sklearn.feature_extraction.image.PatchExtractor : Patches as an array.

    References
    ----------
    Burger, H. C., Schuler, C. J. and Harmeling, S. (2012). "Image denoising: can plain neural
    networks compete with BM3D?". IEEE Conference on Computer Vision and Pattern Recognition,
    2392-2399.

    Dabov, K., Foi, A., Katkovnik, V. and Egiazarian, K. (2007). "Color image denoising via sparse
    3D collaborative filtering with grouping constraint in luminance-chrominance space". IEEE
    International Conference on Image Processing, I-313-I-316.

    Elad, M. and Aharon, M. (2006). "Image denoising via sparse and redundant representations over
    learned dictionaries". IEEE Transactions on Image Processing 15, 3736-3745.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_sample_images
    >>> from skae import DenoisingAutoencoder, PatchDenoiser
    >>> china, flower = (image[::4, ::4] for image in load_sample_images().images)
    >>> model = DenoisingAutoencoder(noise_level=0.1, per_feature=False)
    >>> _ = model.set_params(max_iter=2, early_stopping=False)  # short, for this example
    >>> denoiser = PatchDenoiser(model, max_patches=5000, random_state=0).fit(china)
    >>> noise = np.random.default_rng(0).normal(scale=0.1 * 255, size=flower.shape)
    >>> noisy = (flower + noise).clip(0, 255).astype(np.uint8)
    >>> denoised = denoiser.reconstruct(noisy)
    >>> denoised.shape, denoised.dtype
    ((107, 160, 3), dtype('uint8'))
    """

    estimator: Any = param(
        BaseAutoencoder,
        None,
        default=None,
        kw_only=False,
        doc="""
        The autoencoder. If None, ``DenoisingAutoencoder(noise_level=0.1, per_feature=False,
        hidden_layer_sizes=512)``, for gaussian noise of a tenth of the range of the pixels.""",
    )
    patch_size: int | Sequence[int] = param(
        POSITIVE_INT,
        "array-like",
        default=8,
        doc="Height and width of the patches in pixels; a single number is both.",
    )
    stride: int | Sequence[int] = param(
        POSITIVE_INT,
        "array-like",
        default=2,
        doc="""
        Vertical and horizontal distance of neighbouring patches in ``reconstruct``, at most the
        patch size; a single number is both. 1 is the most accurate, 2 four times as fast.""",
    )
    center: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether the mean of the observed pixels of each patch is subtracted before and added after
        the reconstruction, so that the result does not depend on the brightness of the patch. Use
        False if the noise has another mean than 0, as salt and pepper have.""",
    )
    channels: str = param(
        one_of("auto", "decorrelated", "joint"),
        default="auto",
        doc="""
        How the channels of colour images are denoised. "decorrelated" rotates them, see above: a
        patch has the pixels of one rotated channel, and a pixel of which any channel is missing is
        missing in all of them. "joint" has the pixels of all channels in one patch, for noise that
        a rotation changes, such as salt and pepper, and for pixels of which only some channels are
        missing. "auto" is "decorrelated" with ``center=True``, otherwise "joint", because the
        luminance has another mean than the colour differences.""",
    )
    augment: bool = param(
        "boolean",
        default=True,
        doc="""
        Whether the patches to train on are flipped and turned by a quarter at random and, if they
        are centred, multiplied by a random number between 1/4 and 4, so that the autoencoder learns
        other directions and contrasts than those of the training images.""",
    )
    max_patches: int = param(
        POSITIVE_INT,
        default=50_000,
        doc="""
        Maximum number of patches to train on. They are drawn from the images in proportion to
        the number of patches of each.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Determines the patches to train on and the training. If None, the ``random_state`` of
        ``estimator`` is left unchanged.""",
    )

    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "estimator_": schema.instance(BaseAutoencoder),
        "patch_size_": schema.sequence(schema.integer(1), tuple),
        "center_": schema.boolean,
        "n_channels_": schema.integer(1),
        "channels_": lambda value, _: value in ("decorrelated", "joint"),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "estimator_" not in state:
            return
        size = state["patch_size_"]
        n_features = getattr(state["estimator_"], "n_features_in_", None)
        n_together = state["n_channels_"] if state["channels_"] == "joint" else 1
        if len(size) != 2 or n_features != size[0] * size[1] * n_together:
            raise ValueError("its autoencoder is not fitted to patches of its size")

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, images: Any, y: None = None) -> Self:
        """Train the autoencoder on patches of clean images.

        Parameters
        ----------
        images : array-like or list of array-like
            One image or several, see above. NaN marks a missing value.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted denoiser.

        Raises
        ------
        ValueError
            If an image contains infinity, has another dtype or number of axes, or is smaller than
            the patches; if images differ in their number of channels; if the patches cannot be
            fitted by the autoencoder, as for images that are constant; if channels are to be
            decorrelated without centring.
        """
        with unchanged_on_error(self, but=CALLBACK_STATE), self._steps(1, X=images, y=y):
            arrays, _ = read_images(images)
            size, _ = self._geometry()
            n_channels = arrays[0].shape[2]
            _check_shapes(arrays, size, n_channels)
            random_state = random_state_of(self.random_state)
            channels = self._channels(n_channels)
            if channels == "decorrelated":
                arrays = [luminance(array) for array in arrays]
            patches = self._training_patches(arrays, size, random_state)
            default = DenoisingAutoencoder(
                noise_level=0.1, per_feature=False, hidden_layer_sizes=512
            )
            model = clone(default if self.estimator is None else self.estimator)
            if self.random_state is not None:
                model.set_params(random_state=random_state.randint(np.iinfo(np.int32).max))
            with self._step("fit", model):
                model.fit(patches)
            self.estimator_, self.center_ = model, self.center
            self.patch_size_, self.n_channels_, self.channels_ = size, n_channels, channels
        return self

    def reconstruct(self, images: Any) -> Any:
        """Reconstruct overlapping patches of images and average them.

        Parameters
        ----------
        images : array-like or list of array-like
            One image or several, see above. NaN marks a missing value, which is filled.

        Returns
        -------
        images : ndarray or list of ndarray
            Reconstructions, of the shapes and dtypes of the images; a list for a list. Integers are
            rounded and clipped to the range of their dtype, floats are not clipped.

        Raises
        ------
        ValueError
            If an image contains infinity, has another dtype, number of axes or number of channels,
            or is smaller than the patches.
        """
        check_is_fitted(self)
        arrays, restore = read_images(images)
        _check_shapes(arrays, self.patch_size_, self.n_channels_)
        _, stride = self._geometry()

        def average(image: NDArray) -> NDArray:
            return average_of_patches(image, self.patch_size_, stride, self._reconstruct)

        if self.channels_ == "joint":
            return restore([average(array) for array in arrays])
        return restore([by_rotated_channel(array, average) for array in arrays])

    def _reconstruct(self, patches: NDArray) -> NDArray:
        """Return the reconstructions of patches, as rows."""
        if not self.center_:
            return self.estimator_.reconstruct(patches)
        means = _means(patches)
        return self.estimator_.reconstruct(patches - means) + means

    def _channels(self, n_channels: int) -> str:
        """Return how the channels of images are denoised, "joint" or "decorrelated"."""
        if n_channels == 1 or self.channels == "joint":
            return "joint"
        if self.center:
            return "decorrelated"
        if self.channels == "auto":
            return "joint"
        raise ValueError(
            "channels='decorrelated' requires center=True, because the luminance has another mean "
            "than the colour differences; got center=False."
        )

    def _geometry(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the size of the patches and the strides."""
        size, stride = (_pair(getattr(self, name), name) for name in ("patch_size", "stride"))
        if stride[0] > size[0] or stride[1] > size[1]:
            raise ValueError(
                f"stride={self.stride!r} leaves out pixels between patches of "
                f"patch_size={self.patch_size!r}; it must be at most as large."
            )
        return size, stride

    def _training_patches(
        self, arrays: list[NDArray], size: tuple[int, int], random_state: np.random.RandomState
    ) -> NDArray:
        """Return patches of all images, as rows."""
        n_each = [(a.shape[0] - size[0] + 1) * (a.shape[1] - size[1] + 1) for a in arrays]
        share = min(1.0, self.max_patches / sum(n_each))
        ends = np.rint(share * np.cumsum([0, *n_each])).astype(int)
        patches = np.concatenate(
            [
                sample_patches(a, size, int(n), random_state)
                for a, n in zip(arrays, np.diff(ends), strict=True)
                if n
            ]
        )
        if self.center:
            patches = patches - _means(patches)
        if self.augment:
            contrast = CONTRAST if self.center else 1.0
            patches = augmented(patches, size, contrast, random_state)
        return patches


def _means(patches: NDArray) -> NDArray:
    """Return the mean of the observed pixels of each patch, (n, 1); 0 if there are none."""
    observed = ~np.isnan(patches)
    totals = np.sum(patches, axis=1, keepdims=True, where=observed)
    return totals / np.maximum(observed.sum(axis=1, keepdims=True), 1).astype(patches.dtype)


def _pair(value: Any, name: str) -> tuple[int, int]:
    """Return a number, or a pair of numbers, as a pair."""
    values = [value] * 2 if isinstance(value, Integral) else list(value)
    if len(values) != 2 or not all(isinstance(v, Integral) and int(v) > 0 for v in values):
        raise ValueError(f"{name} must be a positive integer or a pair of them; got {value!r}.")
    return int(values[0]), int(values[1])


def _check_shapes(arrays: list[NDArray], size: tuple[int, int], n_channels: int) -> None:
    """Raise ValueError if images do not fit the patches."""
    for i, array in enumerate(arrays):
        height, width, n = array.shape
        if n != n_channels:
            raise ValueError(
                f"Image {i} has {n} channel{'s' * (n > 1)}, but {n_channels} expected, as in the "
                "images of the fit; convert all images to grey or all to colour."
            )
        if height < size[0] or width < size[1]:
            raise ValueError(
                f"Image {i} has {height} x {width} pixels, which is smaller than a patch of "
                f"{size[0]} x {size[1]}; lower patch_size."
            )
