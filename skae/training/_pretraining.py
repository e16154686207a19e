"""Greedy pretraining: parts of the networks are trained as autoencoders, one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from skae.architectures import PretrainingStage
from skae.data import Batch, Conditioning, Group, RowDataset, concatenate_chunks
from skae.losses import LOSSES
from skae.training._module import AutoencoderModule
from skae.training._plan import TrainingPlan
from skae.training._run import Job, mean_loss_of, run


def pretrain(
    stages: Iterable[PretrainingStage], dataset: RowDataset, plan: TrainingPlan, group: Group
) -> None:
    """Train each stage to reconstruct the codes of the one before it; the first one the samples.

    The loss is the squared error, of the observed cells for the first stage. All epochs are run:
    no samples are held out.

    Parameters
    ----------
    stages : iterable of PretrainingStage
    dataset : RowDataset
    plan : TrainingPlan
        Plan of the whole training; stages have their own numbers of epochs and seeds.
    group : Group
        The processes that the training is divided among.
    """
    net_params = {k: v for k, v in plan.net_params.items() if k.split("__")[0] != "callbacks"}
    for i, stage in enumerate(stages):
        n_inputs = dataset.n_features
        shallow = AutoencoderModule(
            stage.encoder,
            stage.decoder,
            n_inputs=n_inputs,
            n_code=stage.n_code,
            n_components=stage.n_code,
            n_outputs=n_inputs,
            linear_shortcut=False,
            loss=LOSSES["squared_error"],
            conditioning=Conditioning(np.zeros(n_inputs), 1.0),
        )
        own = replace(
            plan,
            max_epochs=stage.n_epochs,
            held_out=np.empty(0, dtype=np.int64),
            mean_loss=mean_loss_of(shallow, dataset),
            seed=plan.seed + i,
            order_seed=plan.order_seed + i,
            net_params=net_params,
        )
        run(Job(shallow, reconstruction_objective, dataset, own, group=group))
        with torch.no_grad():
            codes = (shallow.encode(dataset.values(c)[0]).numpy() for c in dataset.gen_chunks())
            x = torch.from_numpy(concatenate_chunks(len(dataset), codes))
        dataset = dataset.with_values(x)


def reconstruction_objective(module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
    """Return the reconstruction loss of each sample, (n,), without any hook of a variant."""
    output = module.decode(module.encode(batch.x))
    return {"reconstruction": module.reconstruction_loss(output, batch)}
