import numpy as np
import pytest

import skae
from skae import DenoisingAutoencoder, LinearAutoencoder, PatchDenoiser
from skae.images import _channels
from tests.images.denoisers import blobs, denoiser_of


@pytest.mark.parametrize("channels", ["decorrelated", "joint"])
def test_colour(rng, channels):
    image = np.stack([blobs(rng)] * 3, axis=2)
    noisy = image + 0.1 * rng.normal(size=image.shape)
    model = DenoisingAutoencoder(noise_level=0.1, per_feature=False, max_iter=10)
    made = PatchDenoiser(model, patch_size=4, channels=channels, random_state=0).fit(image)
    assert made.channels_ == channels
    denoised = made.reconstruct(noisy)
    assert np.mean((denoised - image) ** 2) < 0.2 * np.mean((noisy - image) ** 2)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4, 7])
def test_axes_of_channels_are_orthonormal_and_the_first_is_the_luminance(rng, n_channels):
    axes = _channels.channel_axes(n_channels)
    np.testing.assert_allclose(axes @ axes.T, np.eye(n_channels), atol=1e-15)
    np.testing.assert_allclose(axes[0], n_channels**-0.5)
    image = rng.random((3, 4, n_channels))
    np.testing.assert_allclose(
        _channels.luminance(image), n_channels**0.5 * image.mean(axis=2, keepdims=True)
    )


def test_axes_of_three_channels_are_opponent_colours():
    expected = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
    np.testing.assert_allclose(_channels.channel_axes(3), expected, atol=1e-15)


@pytest.mark.parametrize("n_channels", [2, 3, 4])
def test_identity_returns_images_of_rotated_channels(rng, n_channels):
    same = denoiser_of(
        lambda patches: patches, n_channels=n_channels, center=True, channels="decorrelated"
    )
    shape = (9, 13, n_channels)
    for dtype, atol in ((float, 1e-14), (np.float32, 1e-6)):
        image = rng.random(shape).astype(dtype)
        again = same.reconstruct([image])[0]
        assert again.dtype == dtype
        np.testing.assert_allclose(again, image, rtol=0, atol=atol)
    for dtype in (np.uint8, np.uint16):
        image = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        assert np.array_equal(same.reconstruct([image])[0], image)


def test_rotated_channels_are_denoised_one_by_one(rng):
    """With a function of one pixel, by hand: Q^T f(Q x)."""
    image = rng.random((8, 9, 3))
    axes = _channels.channel_axes(3)
    made = denoiser_of(np.square, n_channels=3, channels="decorrelated")
    expected = np.einsum("hwi,ij->hwj", np.einsum("ij,hwj->hwi", axes, image) ** 2, axes)
    np.testing.assert_allclose(made.reconstruct(image), expected)


def test_a_pixel_without_one_channel_is_missing_in_all_rotated_channels(rng):
    image = rng.random((8, 9, 3))
    image[2, 3, 1] = np.nan
    image[5, 6] = np.nan
    seen = []

    def recorded(patches):
        seen.append(patches)
        return np.zeros_like(patches)

    made = denoiser_of(recorded, (8, 9), (8, 9), n_channels=3, channels="decorrelated")
    assert np.array_equal(made.reconstruct(image), np.zeros((8, 9, 3)))
    expected = np.zeros((8, 9), dtype=bool)
    expected[[2, 5], [3, 6]] = True
    assert len(seen) == 3
    for patch in seen:
        assert np.array_equal(np.isnan(patch.reshape(8, 9)), expected)


def test_an_autoencoder_of_luminance_is_that_of_a_grey_image(rng):
    image = rng.random((20, 22, 3), dtype=np.float32)
    model = LinearAutoencoder(3, random_state=0)
    in_colour = PatchDenoiser(model, patch_size=4, random_state=0).fit(image)
    assert in_colour.channels_ == "decorrelated"
    assert in_colour.n_channels_ == 3
    grey = PatchDenoiser(model, patch_size=4, random_state=0).fit(_channels.luminance(image))
    assert grey.channels_ == "joint"
    patches = rng.random((5, 16), dtype=np.float32)
    assert np.array_equal(
        in_colour.estimator_.reconstruct(patches), grey.estimator_.reconstruct(patches)
    )


@pytest.mark.parametrize("shape", [(20, 22), (20, 22, 1)])
def test_how_channels_are_denoised_does_not_matter_in_grey(rng, shape):
    image = rng.random(shape)
    joint, *others = (
        PatchDenoiser(LinearAutoencoder(3), patch_size=4, channels=channels, random_state=0)
        .fit(image)
        .reconstruct(image)
        for channels in ("joint", "auto", "decorrelated")
    )
    assert all(np.array_equal(joint, other) for other in others)


def test_channels_without_centring(rng):
    image = rng.random((20, 22, 3))
    made = PatchDenoiser(LinearAutoencoder(3), patch_size=4, center=False, random_state=0)
    assert made.fit(image).channels_ == "joint"
    assert made.estimator_.n_features_in_ == 48
    with pytest.raises(ValueError, match="channels='decorrelated' requires center=True"):
        made.set_params(channels="decorrelated").fit(image)
    with pytest.raises(ValueError, match="The 'channels' parameter of PatchDenoiser must be"):
        made.set_params(channels="rotated").fit(image)


@pytest.mark.parametrize("channels", ["decorrelated", "joint"])
def test_files_of_denoisers_of_colour(rng, tmp_path, channels):
    image = rng.random((20, 22, 3))
    made = PatchDenoiser(LinearAutoencoder(3), patch_size=4, channels=channels, random_state=0)
    skae.save(made.fit(image), tmp_path / "denoiser")
    again = skae.load(tmp_path / "denoiser")
    assert again.channels_ == channels
    assert np.array_equal(again.reconstruct(image), made.reconstruct(image))
    for wrong, message in (
        ("joint" if channels == "decorrelated" else "decorrelated", "patches of its size"),
        ("rotated", "'channels_' is not valid"),
    ):
        made.channels_ = wrong
        with pytest.raises(ValueError, match=message):
            skae.save(made, tmp_path / "wrong")
