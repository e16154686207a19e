import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.cluster import AgglomerativeClustering
from sklearn.datasets import load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import Autoencoder, Conv, VariationalAutoencoder
from skae.displays import LatentDisplay

X, Y = load_digits().data[:300] / 16, load_digits().target[:300]


def colors_of(scatter):
    scatter.figure.canvas.draw()
    return scatter.get_facecolors()


def test_two_components_are_points_coloured_by_class():
    pca = PCA(2).fit(X)
    names = np.array(list("abcdefghij"))[Y]
    display = LatentDisplay.from_estimator(pca, X, names)
    (points,) = display.scatters_
    np.testing.assert_array_equal(points.get_offsets(), pca.transform(X))
    assert [text.get_text() for text in display.legend_.get_texts()] == list("abcdefghij")
    colors = colors_of(points)
    for number, handle in enumerate(display.legend_.legend_handles):
        expected = plt.matplotlib.colors.to_rgba(handle.get_color())
        np.testing.assert_allclose(colors[number == Y], [expected] * (number == Y).sum())
        assert expected == plt.get_cmap("tab10")(number)


def test_continuous_targets_have_a_colour_bar():
    data, target = load_diabetes(return_X_y=True)
    display = LatentDisplay.from_estimator(PCA(2).fit(data), data, target)
    np.testing.assert_array_equal(display.scatters_[0].get_array(), target)
    assert display.colorbar_.vmin == target.min()
    assert display.legend_ is None
    one = LatentDisplay.from_estimator(PCA(1).fit(data), data, target)
    np.testing.assert_array_equal(one.scatters_[0].get_offsets()[:, 1], target)


def test_one_component_is_a_histogram_stacked_by_class():
    codes = PCA(1).fit_transform(X)
    display = LatentDisplay(codes, Y)
    display.plot()
    (classes,) = display.histograms_
    counts = [sum(bar.get_height() for bar in bars) for bars in classes]
    np.testing.assert_array_equal(counts, np.bincount(Y))
    total, edges = np.histogram(codes, 30)
    tops = [bar.get_y() + bar.get_height() for bar in classes[-1]]
    np.testing.assert_allclose(tops, total)
    assert classes[0][0].get_x() == pytest.approx(edges[0])


def test_more_components_are_pairs_of_the_first_ones():
    pca = PCA(6).fit(X)
    codes = pca.transform(X)
    display = LatentDisplay.from_estimator(pca, X, max_components=3)
    pairs = [(0, 1), (0, 2), (1, 2)]
    for scatter, pair in zip(display.scatters_, pairs, strict=True):
        np.testing.assert_array_equal(scatter.get_offsets(), codes[:, pair])
    counts = [[bar.get_height() for bar in bars] for bars in display.histograms_]
    np.testing.assert_array_equal(counts, [np.histogram(codes[:, i], 30)[0] for i in range(3)])
    assert display.scatters_[2].axes.get_xlabel() == "component 1"


def tile(display, row, column):
    picture = np.ma.filled(display.grid_image_.get_array(), np.nan)
    return picture[9 * row : 9 * row + 8, 9 * column : 9 * column + 8].ravel()


def test_grid_covers_the_codes_with_the_second_component_upwards():
    pipeline = make_pipeline(StandardScaler(), PCA(2)).fit(X)
    display = LatentDisplay.from_estimator(pipeline, X, grid=3, image_shape=(8, 8))
    low, high = np.quantile(pipeline.transform(X), [0.05, 0.95], axis=0)
    np.testing.assert_allclose(display.grid_values[:, [0, 2]], np.stack([low, high], axis=1))
    np.testing.assert_allclose(display.grid_values[:, 1], (low + high) / 2)
    corners = pipeline.inverse_transform([[low[0], high[1]], [high[0], low[1]]])
    np.testing.assert_allclose(tile(display, 0, 0), corners[0])
    np.testing.assert_allclose(tile(display, 2, 2), corners[1])
    assert len(display.scatters_) == 1
    display.plot(scatter=False)
    assert not display.scatters_
    assert display.grid_image_.axes is display.ax_


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (-20, 20.2, ["-20", "0", "20"]),
        (-1.645, 1.645, ["-1.6", "0.0", "1.6"]),
        (0.011, 0.031, ["0.011", "0.021", "0.031"]),
        (-4e9, 4e9, ["-4e+09", "0", "4e+09"]),
        (3, 3, ["3", "3", "3"]),
    ],
)
def test_labels_of_a_grid_have_two_digits_of_its_range(low, high, labels):
    values = [np.linspace(low, high, 3)] * 2
    images = np.arange(36.0).reshape(9, 4)
    display = LatentDisplay(X[:5, :2], grid_values=values, grid_images=images, image_shape=(2, 2))
    display.plot(scatter=False)
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == labels
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == labels


def test_grid_of_a_gaussian_prior_is_of_its_quantiles():
    vae = VariationalAutoencoder(2, max_iter=20, random_state=0).fit(X)
    display = LatentDisplay.from_estimator(vae, X, grid=5, image_shape=(8, 8))
    quantiles = norm.ppf([0.05, 0.275, 0.5, 0.725, 0.95])
    np.testing.assert_allclose(display.grid_values, [quantiles, quantiles])
    image = vae.inverse_transform([[quantiles[4], quantiles[1]]])[0]
    np.testing.assert_allclose(tile(display, 3, 4), image, rtol=1e-6)


def test_shape_of_images_is_that_of_the_architecture():
    model = Autoencoder(2, architecture=Conv(image_shape=(8, 8), channels=(4,)), max_iter=1)
    model.set_params(random_state=0, early_stopping=False).fit(X)
    assert LatentDisplay.from_estimator(model, X, grid=2).image_shape == (8, 8)


def test_a_second_picture_takes_the_place_of_the_first():
    figure, ax = plt.subplots()
    LatentDisplay.from_estimator(PCA(3).fit(X), X, np.linspace(0, 1, 300), ax=ax)
    assert len(figure.axes) == 10
    LatentDisplay.from_estimator(PCA(4).fit(X), X, Y, ax=ax)
    assert len(figure.axes) == 17


def test_what_cannot_be_drawn_is_refused_in_one_sentence():
    draw = LatentDisplay.from_estimator
    with pytest.raises(ValueError, match="y has shape .3,., but X has 300 samples"):
        draw(PCA(2).fit(X), X, [0, 1, 2])
    with pytest.raises(ValueError, match="grid=3 needs two components and images; PCA has 3"):
        draw(PCA(3).fit(X), X, grid=3, image_shape=(8, 8))
    with pytest.raises(ValueError, match="image_shape is None"):
        draw(PCA(2).fit(X), X, grid=3)
    with pytest.raises(ValueError, match="max_components must be"):
        draw(PCA(2).fit(X), X, max_components=0)
    with pytest.raises(TypeError, match="AgglomerativeClustering has no method 'transform'"):
        draw(AgglomerativeClustering(2).fit(X), X)
