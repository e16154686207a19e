import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import sparse
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import AutoencoderSearch, LinearAutoencoder
from skae.displays import RetrievalDisplay
from skae.displays._retrieval_drawing import COLORS, HIDDEN_COLOR

X, Y = load_digits(return_X_y=True)
STORED, QUERIES = X[:200], X[200:230]
IMAGES = {"X_stored": STORED, "image_shape": (8, 8)}
LABELS = {"y": Y[200:230], "y_stored": Y[:200]}


@pytest.fixture(scope="module")
def search():
    return AutoencoderSearch(LinearAutoencoder(6)).fit(STORED)


def tiles(image, n_columns, row_gap=3, gap=1):
    """Return the images of 8 x 8 pixels of a mosaic as rows, (n_rows, n_columns, 64)."""
    picture = np.ma.getdata(image.get_array())
    rows = range(0, len(picture), 8 + row_gap)
    columns = [j * (8 + gap) for j in range(n_columns)]
    return np.array([[picture[i : i + 8, j : j + 8].ravel() for j in columns] for i in rows])


def test_images_distances_and_frames_are_those_of_the_search(search):
    display = RetrievalDisplay.from_estimator(search, QUERIES, **IMAGES, **LABELS, n_neighbors=9)
    distances, indices = search.kneighbors(QUERIES[:5], 9)
    images = tiles(display.image_, 10)
    np.testing.assert_array_equal(images[:, 0], QUERIES[:5])
    np.testing.assert_array_equal(images[:, 1:], STORED[indices])
    same = Y[indices] == Y[200:205, None]
    assert 0 < same.mean() < 1
    assert display.agreement_ == same.mean()
    for i in range(5):
        texts = [f"query: {Y[200 + i]}", *(f"{d:.3g}" for d in distances[i])]
        texts[1] = f"distance {texts[1]}"
        assert [text.get_text() for text in display.texts_[i]] == texts
        colors = [to_hex(frame.get_edgecolor()) for frame in display.frames_[i]]
        assert colors == [COLORS[bool(s)] for s in same[i]]
        for j, frame in enumerate(display.frames_[i], 1):
            assert frame.get_bbox().bounds == (9 * j - 0.5, 11 * i - 0.5, 8, 8)
    texts = [text.get_text() for text in display.legend_.get_texts()]
    assert texts == ["same label", "another label"]
    low, high = display.ax_.get_ylim()[::-1]
    assert all(low < text.get_position()[1] < high for text in display.texts_[0])


def test_without_labels_there_are_no_frames(search):
    display = RetrievalDisplay.from_estimator(search, QUERIES, **IMAGES, n_samples=2, n_neighbors=3)
    assert tiles(display.image_, 4).shape == (2, 4, 64)
    assert display.agreement_ is None
    assert display.frames_ == [[], []]
    assert display.texts_[0][0].get_text() == "query"


def test_missing_values_are_yellow_and_colours_are_drawn(search):
    missing = np.where(np.arange(64) < 9, np.nan, QUERIES)
    display = RetrievalDisplay.from_estimator(search, missing, **IMAGES)
    overlay = display.missing_image_.get_array()
    np.testing.assert_array_equal(overlay[0, 0], (*HIDDEN_COLOR, 1))
    assert np.count_nonzero(overlay[..., 3]) == 9 * 5
    arrays = np.zeros((1, 12)), np.ones((1, 2, 12)), np.ones((1, 2))
    display = RetrievalDisplay(*arrays, image_shape=(2, 2, 3)).plot()
    assert display.image_.get_array().shape == (2, 8, 4)
    assert display.missing_image_ is None


def test_stored_samples_are_those_of_a_search_that_holds_them():
    wine, y = load_wine(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), AutoencoderSearch(LinearAutoencoder(3), rerank=9))
    pipeline.fit(wine[::2])
    labels = {"y": y[1::2], "y_stored": y[::2]}
    display = RetrievalDisplay.from_estimator(pipeline, wine[1::2], **labels, n_neighbors=4)
    indices = pipeline[-1].kneighbors(pipeline[0].transform(wine[1::2])[:5], 4)[1]
    np.testing.assert_allclose(display.neighbors, wine[::2].to_numpy()[indices])
    assert display.axes_.shape == (5,)
    mean, std = wine[1::2].mean().to_numpy(), wine[1::2].std(ddof=0).to_numpy()
    for i, line in enumerate(display.query_lines_):
        np.testing.assert_allclose(line.get_ydata(), ((wine[1::2] - mean) / std).to_numpy()[i])
        for j, near in enumerate(display.neighbor_lines_[i]):
            expected = (wine[::2].to_numpy()[indices[i, j]] - mean) / std
            np.testing.assert_allclose(near.get_ydata(), expected)
            same = bool(y[::2].iloc[indices[i, j]] == y[1::2].iloc[i])
            assert to_hex(near.get_color()) == COLORS[same]
    names = [label.get_text() for label in display.axes_[-1].get_xticklabels()]
    assert names[0] == "alcohol"
    display = RetrievalDisplay.from_estimator(pipeline, wine[1::2], standardize=False, n_samples=1)
    np.testing.assert_array_equal(display.query_lines_[0].get_ydata(), wine.to_numpy()[1])
    assert display.axes_[0].get_ylabel() == "value"
    assert [t.get_text() for t in display.legend_.get_texts()] == ["query", "neighbors"]


@pytest.mark.parametrize("form", [sparse.csr_array, pd.DataFrame, list])
def test_stored_samples_may_be_any_table(search, form):
    kwargs = IMAGES | {"X_stored": form(STORED)}
    display = RetrievalDisplay.from_estimator(search, QUERIES, **kwargs)
    wanted = RetrievalDisplay.from_estimator(search, QUERIES, **IMAGES)
    np.testing.assert_array_equal(display.neighbors, wanted.neighbors)


def test_other_searches_are_drawn():
    theirs = NearestNeighbors().fit(STORED)
    display = RetrievalDisplay.from_estimator(theirs, STORED, **IMAGES, n_neighbors=1)
    np.testing.assert_array_equal(display.neighbors[:, 0], STORED[:5])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"X_stored": None}, "does not hold the samples that it was fitted to; pass them as X_st"),
        ({"X_stored": STORED[:7]}, "X_stored has 7 samples, but 200 are stored"),
        ({"y": Y[200:230]}, "Only one of y and y_stored"),
        ({"y": Y[:3], "y_stored": Y[:200]}, "y has 3 labels, but X has 30 samples"),
        ({"y": Y[200:230], "y_stored": Y[:9]}, "y_stored has 9 samples, but 200 are stored"),
        ({"image_shape": (3, 3)}, r"image_shape=\(3, 3\) does not describe rows of 64 values"),
        ({"n_samples": 0}, "n_samples must be a positive integer"),
        ({"n_neighbors": 201}, "n_neighbors=201, but only 200"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(search, kwargs, message):
    with pytest.raises(ValueError, match=message):
        RetrievalDisplay.from_estimator(search, QUERIES, **IMAGES | kwargs)
    assert not plt.get_fignums()


def test_what_has_no_neighbors_is_refused():
    with pytest.raises(TypeError, match="PCA has no method 'kneighbors'; pass an Autoencoder"):
        RetrievalDisplay.from_estimator(PCA(2).fit(STORED), QUERIES, **IMAGES)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"neighbors": np.ones((2, 3, 4))}, r"neighbors \(2, 3, 4\) and distances \(2, 3\)"),
        ({"distances": np.ones((2, 0))}, "There are no neighbors to draw"),
        ({"y": [1, 2]}, "Only one of y and y_neighbors is given"),
        ({"y": [1, 2], "y_neighbors": [1, 2]}, r"pass labels of shapes \(2,\) and \(2, 3\)"),
    ],
)
def test_arrays_that_do_not_belong_together(kwargs, message):
    arrays = {"X": np.ones((2, 5)), "neighbors": np.ones((2, 3, 5)), "distances": np.ones((2, 3))}
    with pytest.raises(ValueError, match=message):
        RetrievalDisplay(**arrays | kwargs).plot()
    assert not plt.get_fignums()
