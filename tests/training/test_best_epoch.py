import pytest
import torch
from torch import nn

from skae.training import seeded
from skae.training._best_epoch import BestEpoch


def tracker(start, weight=None, patience=2, tol=0.0, n_errors=2.0, **options):
    with seeded(0):
        module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    start = torch.tensor(start)
    weight = torch.ones(len(start)) if weight is None else torch.tensor(weight)
    options |= {"patience": patience, "tol": tol, "n_errors": n_errors}
    best = BestEpoch(module, weight, start, **options)
    return module, best


def run(module, best, epochs):
    """Feed losses of epochs whose weights are their numbers; return the weight that is kept."""
    for epoch, losses in enumerate(epochs, 1):
        nn.init.constant_(module.weight, float(epoch))
        best.update(epoch, torch.tensor(losses))
    best.restore()
    return module.weight.item()


def test_keeps_the_lowest():
    module, best = tracker([1.0, 1.0, 1.0])
    assert run(module, best, [[0.9] * 3, [0.5] * 3, [0.7] * 3]) == 2
    assert (best.epoch, best.loss) == (2, pytest.approx(0.5))


def test_a_gain_within_two_standard_errors_is_none():
    gains = torch.tensor([0.3, -0.1, 0.2, 0.0])  # mean 0.1, standard error 0.091
    module, best = tracker([1.0] * 4)
    assert run(module, best, [(1 - gains).tolist()]) == 0
    module, best = tracker([1.0] * 4, n_errors=1.0)
    assert run(module, best, [(1 - gains).tolist()]) == 1


def test_standard_error_is_the_one_of_the_mean():
    gains = torch.tensor([0.3, -0.1, 0.2, 0.0], dtype=torch.float64)
    error = (gains.std() / 2).item()
    for factor, kept in ((0.99, 1), (1.01, 0)):
        module, best = tracker([1.0] * 4, n_errors=factor * gains.mean().item() / error)
        assert run(module, best, [(1 - gains).tolist()]) == kept


def test_weights_count():
    module, best = tracker([1.0] * 3, weight=[1.0, 1.0, 1e-6])
    assert run(module, best, [[0.5, 0.5, 9.0]]) == 1


@pytest.mark.parametrize(
    ("losses", "n_epochs"),
    [
        ([1.1] * 9, 2),  # worse than the start
        ([0.98, 0.99] * 5, 5),  # better, but not by two standard errors
        ([0.98, *[1.1] * 9], 3),
        ([0.5, *[1.1] * 9], 5),  # an epoch has been better
    ],
)
def test_patience_is_shorter_while_all_epochs_are_worse_than_the_start(losses, n_epochs):
    _, best = tracker([1.0, 1.0], patience=4, start_patience=2)
    for epoch, loss in enumerate(losses, 1):
        best.update(epoch, torch.tensor([loss - 0.02, loss + 0.02]))
        if best.exhausted:
            break
    assert epoch == n_epochs


def test_patience_counts_improvements_beyond_tol():
    _, best = tracker([1.0, 1.0], patience=2, tol=0.1)
    best.update(1, torch.tensor([0.95, 0.95]))
    assert best.waited == 1
    best.update(2, torch.tensor([0.5, 0.5]))
    assert best.waited == 0
    best.update(3, torch.tensor([0.49, 0.49]))
    assert not best.exhausted
    best.update(4, torch.tensor([0.6, 0.6]))
    assert best.exhausted
