import pytest
from skorch.callbacks import Callback

from skae import MLP, Autoencoder
from skae.training import _budget as budget


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "epochs", "held_out", "patience"),
    [
        (30, 16, 2000, 7, 600),
        (150, 16, 500, 37, 150),
        (1_000, 56, 235, 100, 70),
        (5_000, 128, 111, 500, 33),
        (60_000, 128, 20, 6_000, 6),
    ],
)
def test_the_rule(n_rows, batch_size, epochs, held_out, patience):
    assert budget.n_held_out(n_rows, 0.1) == held_out
    n_train = n_rows - held_out
    assert budget.batch_size(n_train) == batch_size
    assert budget.max_iter(-(-n_train // batch_size), *MLP()._budget) == epochs
    assert budget.patience(epochs) == patience


@pytest.mark.parametrize(
    ("epochs", "steps_per_epoch", "expected"),
    [(500, 8, 75), (500, 1, 150), (20, 11, 6), (20, 422, 3), (1, 8, 1)],
)
def test_patience_at_the_start_is_half_but_at_least_600_steps(epochs, steps_per_epoch, expected):
    assert budget.start_patience(epochs, steps_per_epoch) == expected


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:No epoch:skae.AutoencoderWarning")
def test_fit_follows_the_rule_and_integers_mean_epochs(sheet):
    planned = {}

    def note():
        class Note(Callback):
            def on_train_begin(self, net, **_):
                planned.update(epochs=net.max_epochs, batch=net.batch_size, wait=net.patience)

        return Note()

    for parameters, expected in [
        ({}, {"epochs": 250, "batch": 21, "wait": 75}),
        ({"max_iter": 3}, {"epochs": 3, "batch": 21, "wait": 1}),
        ({"batch_size": 500, "max_iter": 2}, {"epochs": 2, "batch": 336, "wait": 1}),
        ({"n_iter_no_change": 7, "max_iter": 2}, {"epochs": 2, "batch": 21, "wait": 7}),
    ]:
        model = Autoencoder(5, net_params={"callbacks": [note()]}, random_state=0, tol=1.0)
        model.set_params(early_stopping=True, **parameters).fit(sheet)
        assert planned == expected
