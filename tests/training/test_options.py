"""Optimisers, weight decay, precision and device."""

import numpy as np
import pytest
import torch

from skae import Autoencoder
from skae.training import check_precision, device_of

SHORT = {"max_iter": 5, "early_stopping": False, "random_state": 0}


def fit(sheet, net_params=None, **parameters):
    return Autoencoder(2, **SHORT | parameters, net_params=net_params).fit(sheet)


@pytest.mark.full
def test_optimisers_by_name_and_by_class(sheet):
    by_name = fit(sheet, {"optimizer": "SGD", "optimizer__momentum": 0.9}).transform(sheet)
    by_class = fit(sheet, {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9})
    assert np.array_equal(by_class.transform(sheet), by_name)
    assert not np.array_equal(fit(sheet).transform(sheet), by_name)
    closure = fit(sheet, {"optimizer": "LBFGS"}, batch_size=400, learning_rate=0.1)
    assert closure.loss_curve_[-1] < closure.loss_curve_[0]
    with pytest.raises(ValueError, match="'Adamant' is not the name of a class in torch.optim"):
        fit(sheet, {"optimizer": "Adamant"})


def test_integers_may_be_numpys(sheet):
    codes = fit(sheet, batch_size=16, max_iter=2, n_iter_no_change=3).transform(sheet)
    numbers = {"batch_size": np.int64(16), "max_iter": np.int32(2), "n_iter_no_change": np.int8(3)}
    assert np.array_equal(fit(sheet, **numbers).transform(sheet), codes)


def test_fused_changes_nothing_but_time(sheet):
    plain = fit(sheet, {"optimizer__fused": False}).transform(sheet)
    np.testing.assert_allclose(fit(sheet).transform(sheet), plain, atol=1e-4)


def test_foreach_excludes_fused(sheet):
    foreach = fit(sheet, {"optimizer__foreach": True}).transform(sheet)
    np.testing.assert_allclose(foreach, fit(sheet).transform(sheet), atol=1e-4)


def test_weight_decay_makes_weights_smaller(sheet):
    def size(model):
        return sum(float(p.detach().square().sum()) for p in model.module_.parameters())

    assert size(fit(sheet, weight_decay=10.0)) < 0.9 * size(fit(sheet))
    with pytest.raises(ValueError, match="LBFGS has no weight_decay"):
        fit(sheet, {"optimizer": "LBFGS"}, weight_decay=0.1)


def test_bf16_computes_in_half_the_bits_and_keeps_weights_in_full(sheet):
    half, full = fit(sheet, precision="bf16"), fit(sheet)
    assert half.module_.output_bias.dtype == torch.float32
    assert half.score(sheet) == pytest.approx(full.score(sheet), rel=0.1)
    assert half.score(sheet) != full.score(sheet)


def test_device_is_checked(sheet):
    assert device_of("cpu") == torch.device("cpu")
    for name in ("gpu9", "cuda:99"):
        with pytest.raises(ValueError, match=rf"device='{name}' is not available here .* 'cpu'"):
            fit(sheet, device=name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="'auto' is the GPU then")
def test_auto_is_the_cpu_without_a_gpu(sheet):
    assert device_of("auto") == torch.device("cpu")


@pytest.mark.gpu
def test_rows_reach_the_gpu_by_workers_and_pinned_memory(sheet):
    loading = {"iterator_train__num_workers": 1, "iterator_train__pin_memory": True}
    loaded = fit(sheet, loading, device="cuda").transform(sheet)
    np.testing.assert_allclose(loaded, fit(sheet, device="cuda").transform(sheet), atol=1e-5)


def test_float64_is_refused_where_a_device_has_none():
    mps = torch.device("mps")
    with pytest.raises(ValueError, match="does not support float64, and the rows are float64"):
        check_precision(mps, torch.float64, "the rows are")
    check_precision(mps, torch.float32, "the rows are")
    check_precision(torch.device("cpu"), torch.float64, "the rows are")
