import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d
from sklearn.utils import estimator_checks

import skae
from skae import DenoisingAutoencoder, LinearAutoencoder, PatchDenoiser
from skae.images import _patches
from tests.images.denoisers import blobs, denoiser_of


@pytest.fixture(scope="module")
def fitted():
    model = DenoisingAutoencoder(noise_level=0.1, per_feature=False, hidden_layer_sizes=64)
    model.set_params(max_iter=15, early_stopping=False)
    image = blobs(np.random.default_rng(0)).astype(np.float32)
    return PatchDenoiser(model, patch_size=6, random_state=0).fit(image)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (4, 5)])
@pytest.mark.parametrize("shape", [(4, 5), (9, 13), (31, 6), (20, 22)])
def test_identity_returns_the_image(rng, shape, stride, center):
    same = denoiser_of(lambda patches: patches, stride=stride, center=center)
    for image in (rng.normal(size=shape), rng.random(shape, dtype=np.float32)):
        again = same.reconstruct(image)
        assert again.dtype == image.dtype
        np.testing.assert_allclose(again, image, rtol=4 * np.finfo(image.dtype).eps, atol=3e-7)
    for dtype in (np.uint8, np.uint16):
        image = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        again = same.reconstruct(image)
        assert again.dtype == dtype
        assert np.array_equal(again, image)


def test_patches_that_overlap_are_averaged():
    """Each patch becomes its own number: by hand, of an image of 2 x 5 in patches of 2 x 2."""
    numbered = denoiser_of(
        lambda patches: np.repeat(np.arange(1.0, 1 + len(patches))[:, None], 4, axis=1),
        size=(2, 2),
        stride=(2, 2),
    )
    # Patches begin at columns 0, 2 and, to end at the border, 3.
    expected = [[1, 1, 2, 2.5, 3]] * 2
    assert np.array_equal(numbered.reconstruct(np.zeros((2, 5))), expected)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_average_at_stride_1_is_that_of_scikit_learn(rng, n_channels):
    image = rng.random((12, 15, n_channels))
    ours = denoiser_of(np.square, stride=(1, 1), n_channels=n_channels).reconstruct(image)
    patches = extract_patches_2d(image, (4, 5)).reshape(-1, 4, 5, n_channels)
    theirs = reconstruct_from_patches_2d(patches**2, image.shape)
    np.testing.assert_allclose(ours, theirs)


def test_result_does_not_depend_on_chunks(rng, monkeypatch):
    image = rng.random((40, 33))
    whole = denoiser_of(np.square).reconstruct(image)
    calls = []

    def recorded(patches):
        calls.append(len(patches))
        return np.square(patches)

    monkeypatch.setattr(_patches, "MAX_CHUNK_SIZE", 500)
    np.testing.assert_allclose(denoiser_of(recorded).reconstruct(image), whole, rtol=1e-14)
    assert len(calls) > 5
    assert max(calls) * 20 <= 500


def test_images_are_returned_as_they_were_given(rng):
    same = denoiser_of(lambda patches: patches)
    grey = [rng.random((8, 9)), rng.integers(0, 255, (12, 7), np.uint8)]
    listed = same.reconstruct(grey)
    assert [(a.shape, a.dtype) for a in listed] == [(a.shape, a.dtype) for a in grey]
    assert same.reconstruct(np.ones((6, 8, 9))).shape == (6, 8, 9)  # a stack
    assert same.reconstruct(np.ones((8, 9, 1))).shape == (8, 9, 1)
    in_colour = denoiser_of(lambda patches: patches, n_channels=3)
    assert in_colour.reconstruct(np.ones((8, 9, 3))).shape == (8, 9, 3)
    assert in_colour.reconstruct(np.ones((2, 8, 9, 3))).shape == (2, 8, 9, 3)


def test_results_beyond_the_range_of_integers_are_clipped(rng):
    image = rng.integers(0, 255, (8, 9), np.uint8)
    far = denoiser_of(lambda patches: 3 * patches - 1).reconstruct(image)
    assert np.array_equal(far, np.clip(3 * image.astype(int) - 255, 0, 255))


@pytest.mark.parametrize("n_patches", [50, 10**6])
def test_training_patches_are_of_the_images(rng, n_patches):
    image = rng.random((9, 11, 3))
    every = {p.tobytes() for p in extract_patches_2d(image, (4, 5))}
    drawn = _patches.sample_patches(image, (4, 5), n_patches, np.random.RandomState(0))
    assert len(drawn) == min(n_patches, len(every))
    assert {np.ascontiguousarray(p).tobytes() for p in drawn} <= every


def test_patches_are_drawn_in_proportion_to_the_images():
    images = [np.full((20, 20, 1), 0.0), np.full((40, 40, 1), 1.0), np.full((30, 30, 1), 2.0)]
    made = PatchDenoiser(max_patches=500, center=False)
    patches = made._training_patches(images, (5, 5), np.random.RandomState(0))
    n_each = np.array([16**2, 36**2, 26**2])
    counts = [(patches[:, 0] == value).sum() for value in range(3)]
    np.testing.assert_allclose(counts, 500 * n_each / n_each.sum(), atol=1)
    assert len(patches) == 500


def test_brightness_does_not_matter_if_patches_are_centred(fitted, rng):
    noisy = blobs(rng)
    noisy += 0.1 * rng.normal(size=noisy.shape)
    np.testing.assert_allclose(
        fitted.reconstruct(noisy + 5), fitted.reconstruct(noisy) + 5, atol=1e-9
    )


def test_noise_is_removed_and_better_than_by_pca(fitted, rng):
    clean = blobs(rng)
    noisy = clean + 0.1 * rng.normal(size=clean.shape)
    training = extract_patches_2d(blobs(np.random.default_rng(0)), (6, 6)).reshape(-1, 36)

    def error(result):
        return np.mean((result - clean) ** 2)

    by_pca = []
    for k in range(1, 37, 3):
        pca = PCA(k).fit(training)
        by = denoiser_of(lambda p, a=pca: a.inverse_transform(a.transform(p)), (6, 6), (2, 2))
        by_pca.append(error(by.reconstruct(noisy)))
    assert error(fitted.reconstruct(noisy)) < 0.9 * min(by_pca)
    assert min(by_pca) < 0.7 * error(noisy)


def test_missing_pixels_are_filled(fitted, rng):
    clean = blobs(rng)
    holes = np.where(rng.random(clean.shape) < 0.1, np.nan, clean)
    holes[:8, :8] = np.nan  # a patch without any observed pixel
    filled = fitted.reconstruct(holes)
    assert np.isfinite(filled).all()
    missing = np.isnan(holes)
    assert np.mean((filled - clean)[missing] ** 2) < 0.7 * np.var(clean[missing])
    masked = np.ma.masked_invalid(holes)
    assert np.array_equal(fitted.reconstruct(masked), filled)


def test_augmented_patches_are_flipped_turned_and_scaled(rng):
    patches = rng.normal(size=(2000, 2 * 2 * 3))
    made = _patches.augmented(patches, (2, 2), 4.0, np.random.RandomState(0))
    factors = np.linalg.norm(made, axis=1) / np.linalg.norm(patches, axis=1)
    assert 0.25 <= factors.min() < 0.3
    assert 3.5 < factors.max() <= 4
    squares, again = patches.reshape(-1, 2, 2, 3), (made / factors[:, None]).reshape(-1, 2, 2, 3)
    turned = [
        np.rot90(s, k, axes=(1, 2)) for s in (squares, squares.swapaxes(1, 2)) for k in range(4)
    ]
    equal = np.array([np.isclose(t, again).all(axis=(1, 2, 3)) for t in turned])
    assert (equal.sum(axis=0) == 1).all()
    assert (np.abs(equal.mean(axis=1) - 1 / 8) < 0.03).all()
    wide = _patches.augmented(np.arange(6.0)[None], (2, 3), 1.0, np.random.RandomState(0))
    assert set(wide[0]) == set(range(6))


def test_augmentation_keeps_the_range_of_pixels_unless_patches_are_centred(rng):
    image = rng.random((30, 30))
    for center in (False, True):
        made = PatchDenoiser(center=center, random_state=0)
        patches = made._training_patches([image[..., None]], (4, 4), np.random.RandomState(0))
        assert (np.abs(patches.mean(axis=1)) < 1e-12).all() == center
        assert (patches.min() >= 0 and patches.max() <= 1) != center


def test_same_seed_same_result_and_fits_as_scikit_learn_expects(rng):
    image = blobs(rng, (30, 30))
    made = PatchDenoiser(DenoisingAutoencoder(max_iter=1), patch_size=(3, 4), random_state=3)
    with pytest.warns(skae.AutoencoderWarning, match="No epoch"):
        first = made.fit(image).reconstruct(image)
    assert made.estimator.random_state is None
    assert made.estimator_ is not made.estimator
    with pytest.warns(skae.AutoencoderWarning, match="No epoch"):
        again = clone(made).fit(image).reconstruct(image)
    assert np.array_equal(first, again)
    assert made.get_params()["estimator__max_iter"] == 1
    assert np.array_equal(made.set_params(patch_size=9).reconstruct(image), first)


def test_files_and_pickles(fitted, rng, tmp_path):
    noisy = blobs(rng)
    skae.save(fitted, tmp_path / "denoiser")
    for again in (skae.load(tmp_path / "denoiser"), pickle.loads(pickle.dumps(fitted))):
        assert np.array_equal(again.reconstruct(noisy), fitted.reconstruct(noisy))
    wrong = copy.copy(fitted)
    wrong.patch_size_ = (3, 3)
    with pytest.raises(ValueError, match="not fitted to patches of its size"):
        skae.save(wrong, tmp_path / "wrong")


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_param_validation,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_mixin_order,
    ],
)
def test_checks_of_scikit_learn_that_need_no_table(check):
    check("PatchDenoiser", PatchDenoiser())


def test_not_fitted():
    with pytest.raises(NotFittedError):
        PatchDenoiser().reconstruct(np.ones((9, 9)))


BAD_IMAGES = {
    r"Image 1 has shape \(3,\)": [np.ones((9, 9)), np.ones(3)],
    r"The image has shape \(\)": 3.0,
    r"has shape \(0, 5\)": np.ones((0, 5)),
    "There is no image": [],
    "dtype int64; convert it to uint8": np.ones((9, 9), dtype=int),
    "dtype <U1": np.array([["a"]]),
    "dtype complex128": np.ones((9, 9), dtype=complex),
    "contains infinity; mark missing pixels by NaN": np.full((9, 9), np.inf),
    "Image 0 has 3 channels, but 1 expected": [np.ones((9, 9, 3))],
    "Image 0 has 5 x 9 pixels, which is smaller than a patch of 6 x 6": np.ones((5, 9)),
}


@pytest.mark.parametrize("message", BAD_IMAGES)
def test_bad_images(fitted, message):
    with pytest.raises(ValueError, match=message):
        fitted.reconstruct(BAD_IMAGES[message])


@pytest.mark.parametrize(
    ("params", "images", "message"),
    [
        ({"stride": 9}, np.eye(20), "stride=9 leaves out pixels between patches"),
        ({"patch_size": (3, 3, 3)}, np.eye(20), "patch_size must be a positive integer or a pair"),
        ({"stride": (0, 1)}, np.eye(20), "stride must be a positive integer or a pair"),
        ({}, [np.ones((20, 20)), np.ones((20, 20, 3))], "Image 1 has 3 channels, but 1 expected"),
        ({}, np.ones((20, 20)), "vary|constant"),
    ],
)
def test_bad_fits_leave_the_denoiser_as_it_was(params, images, message):
    made = PatchDenoiser(LinearAutoencoder(2), random_state=0, **params)
    before = dict(vars(made))
    with pytest.raises(ValueError, match=message):
        made.fit(images)
    assert {k: v for k, v in vars(made).items() if k in before} == before
    assert not hasattr(made, "estimator_")
