"""Training by a plan: no estimator is needed."""

import dataclasses
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

import skae.training
from skae import MLP
from skae.data import Conditioning, DataSource, RowDataset
from skae.training import Job, TrainingPlan, build, drawing_from, run

SIZES = {"n_inputs": 6, "n_code": 2, "n_components": 2, "n_outputs": 6}


def module_and_rows(X):
    conditioning = Conditioning(X.mean(axis=0), float(X.std()))
    with drawing_from(torch.Generator().manual_seed(0)):
        module = build(
            MLP((8,)),
            conditioning,
            loss="squared_error",
            layer_sizes=SIZES,
            linear_shortcut=True,
            tied=False,
        )
    weight = np.full(len(X), 0.5)
    return module, RowDataset.of(DataSource(X), weight, conditioning, torch.float32, True)


def noisy(module, batch):
    x = batch.x + 0.1 * batch.random.normal(*batch.x.shape)
    h = module.encode(x)
    reconstruction = module.reconstruction_loss(module.decode(h), batch)
    return {"reconstruction": reconstruction, "size": 1e-2 * h.square().sum(1)}


PLAN = TrainingPlan(max_epochs=4, batch_size=32, learning_rate=1e-2, held_out=np.arange(50))


def trained(X, plan=PLAN):
    module, rows = module_and_rows(X)
    result = run(Job(module, noisy, rows, plan))
    return module, result


def test_a_plan_is_a_value_that_can_be_sent_to_another_process(sheet):
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAN.max_epochs = 5
    again = pickle.loads(pickle.dumps(PLAN))
    ours, theirs = trained(sheet)[0].state_dict(), trained(sheet, again)[0].state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_runs_in_threads_are_those_one_after_another(sheet):
    plans = [dataclasses.replace(PLAN, seed=seed, order_seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda plan: trained(sheet, plan)[0].state_dict(), plans))
    for plan, ours in zip(plans, together, strict=True):
        theirs = trained(sheet, plan)[0].state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_result_has_the_terms_of_each_epoch(sheet):
    module, result = trained(sheet)
    assert result.term_names == ["reconstruction", "size"]
    assert len(result.history) == 4
    assert result.n_steps == 4 * -(-(len(sheet) - 50) // 32)
    for epoch in result.history:
        assert epoch["train_reconstruction"] + epoch["train_size"] == pytest.approx(
            epoch["train_loss"]
        )
        assert epoch["train_size"] > 0
    assert module.objective is None
    assert not module.training


def test_callbacks_are_notified_and_the_objective_is_removed_after_an_error(sheet):
    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.stop_ = True

    module, rows = module_and_rows(sheet)
    assert len(run(Job(module, noisy, rows, PLAN, [("stop", Stop())])).history) == 1

    def broken(module, batch):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run(Job(module, broken, rows, PLAN))
    assert module.objective is None


def test_no_file_of_training_names_an_estimator():
    folder = Path(inspect.getfile(skae.training)).parent
    for path in folder.glob("*.py"):
        text = path.read_text()
        assert "estimator." not in text, path
        assert "skae.base" not in text, path
        assert "skae._hooks" not in text, path
