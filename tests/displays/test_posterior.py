import numpy as np
import pytest
from scipy.stats import norm
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skae import LinearAutoencoder, VariationalAutoencoder
from skae.displays import PosteriorDisplay

X = np.random.default_rng(0).normal(size=(150, 6)) * [4, 3, 1, 1, 1, 1]


@pytest.fixture(scope="module")
def vae():
    return VariationalAutoencoder(4, max_iter=3, early_stopping=False, random_state=0).fit(X)


def heights(bars):
    return [bar.get_height() for bar in bars]


def test_bars_are_the_sorted_divergences(vae):
    display = PosteriorDisplay.from_estimator(vae, X)
    drawn = heights(display.active_bars_) + heights(display.inactive_bars_)
    np.testing.assert_allclose(np.sort(drawn), np.sort(vae.kl_), rtol=1e-4)
    np.testing.assert_array_equal(display.order_, np.argsort(-display.kl))
    assert display.ax_.get_ylabel().endswith("(nats)")


def test_divergence_is_the_expected_log_ratio(vae):
    """By quadrature of q(z) log(q(z) / p(z))."""
    mean, std = vae.posterior(X[:1])
    display = PosteriorDisplay.from_estimator(vae, X[:1])
    z = np.linspace(-9, 9, 20001)
    for j in range(4):
        q = norm(mean[0, j], std[0, j])
        kl = np.trapezoid(q.pdf(z) * (q.logpdf(z) - norm.logpdf(z)), z)
        assert display.kl[j] == pytest.approx(kl, abs=1e-4)


def test_active_components_have_means_that_vary():
    display = PosteriorDisplay([0.2, 3.0, 0.1, 2.0], mean_variance=[0.02, 1.0, 0.009, 0.0]).plot()
    assert display.order_.tolist() == [1, 3, 0, 2]
    assert display.active_.tolist() == [True, False, True, False]
    assert heights(display.active_bars_) == [3.0, 0.2]
    assert heights(display.inactive_bars_) == [2.0, 0.1]
    assert display.ax_.get_title() == "2 of 4 components active"
    assert [text.get_text() for text in display.ax_.get_legend().texts] == [
        "2 active",
        "2 inactive",
    ]


def test_steps_before_are_applied(vae):
    pipeline = make_pipeline(StandardScaler().fit(X), vae)
    display = PosteriorDisplay.from_estimator(pipeline, X, name="scaled")
    mean = vae.transform(StandardScaler().fit_transform(X))
    np.testing.assert_allclose(display.mean_variance, mean.var(axis=0), rtol=1e-5)
    assert display.active_bars_.get_label().endswith("active (scaled)")


def test_other_autoencoders_are_refused():
    with pytest.raises(TypeError, match="LinearAutoencoder has no posterior"):
        PosteriorDisplay.from_estimator(LinearAutoencoder(1).fit(X), X)
