import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mean_absolute_error, mean_poisson_deviance

from skae import Autoencoder
from skae.losses import LOSSES


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_cell_is_least_where_the_link_gives_x(loss):
    x = torch.tensor([[0.3]], dtype=torch.float64)
    output = torch.linspace(-3, 3, 6001, dtype=torch.float64)[:, None]
    best = output[loss.cell(output, x.expand_as(output)).argmin()]
    assert loss.link(best).item() == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("loss", [v for v in LOSSES.values() if v.power], ids=lambda v: v.name)
def test_power_is_how_the_error_scales(loss):
    x, output = torch.tensor([0.2, 0.4]), torch.tensor([0.5, 0.3])
    torch.testing.assert_close(loss.cell(3 * output, 3 * x), 3**loss.power * loss.cell(output, x))


@pytest.mark.parametrize("loss", [v for v in LOSSES.values() if v.power == 0], ids=lambda v: v.name)
def test_bias_reconstructs_the_mean(loss):
    mean = np.array([0.01, 0.3, 0.9])
    np.testing.assert_allclose(loss.link(torch.tensor(loss.bias(mean))), mean)
    assert np.isfinite(loss.bias(np.array([0.0, 1.0]))).all()


def test_log_loss_is_scikit_learns():
    rng = np.random.default_rng(0)
    y, output = rng.integers(0, 2, 50), rng.normal(size=50)
    cell = LOSSES["log_loss"].cell(torch.tensor(output), torch.tensor(y, dtype=torch.float64))
    assert cell.mean().item() == pytest.approx(log_loss(y, 1 / (1 + np.exp(-output))))


def test_other_errors_are_scikit_learns():
    rng = np.random.default_rng(0)
    y, output = rng.poisson(2.0, 50).astype(float), rng.normal(size=50)
    absolute, poisson = (
        LOSSES[name].cell(torch.tensor(output), torch.tensor(y)).mean().item()
        for name in ("absolute_error", "poisson")
    )
    assert absolute == pytest.approx(mean_absolute_error(y, output))
    assert 2 * poisson == pytest.approx(mean_poisson_deviance(y, np.exp(output)))


def test_negative_counts_are_refused(sheet):
    with pytest.raises(ValueError, match=r"loss='poisson' needs values of at least 0, but column"):
        Autoencoder(2, loss="poisson").fit(sheet)


def test_squared_error():
    cell = LOSSES["squared_error"].cell(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]))
    assert cell.tolist() == [4.0, 0.0]


def test_log_loss_names_the_column_outside_its_domain():
    check = LOSSES["log_loss"].check
    check(np.array([0.0, np.nan]), np.array([1.0, np.nan]), None)
    with pytest.raises(ValueError, match=r"column 1 of X goes from 0 to 16; scale it"):
        check(np.array([0.0, 0.0]), np.array([1.0, 16.0]), None)
    with pytest.raises(ValueError, match=r"column 'b' of X goes from -1 to 1"):
        check(np.array([0.0, -1.0]), np.array([1.0, 1.0]), np.array(["a", "b"], dtype=object))
