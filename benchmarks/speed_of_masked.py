"""Time of an epoch of `MaskedAutoencoder` beside a loop that is written by hand for its network.

Both train the same transformer with the same objective on the same images of 28 x 28, in turns in
one process; the ratio of the medians counts. A second table is the time of a step of the encoder
and of the whole by the fraction of patches that are hidden.

    python benchmarks/speed_of_masked.py --json masked.json
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from report import write_json
from speed import Turns
from torch import Tensor, nn

from skae import MaskedAutoencoder, ViT
from skae.architectures._tokens import sine_cosine
from skae.autoencoders._masked_networks import Visible

SIDE, PATCH, WIDTH, HEADS, LAYERS, NARROW = 28, 4, 64, 4, 4, 48
GRID = (SIDE // PATCH, SIDE // PATCH)
N_TOKENS, N_HIDDEN = GRID[0] ** 2, round(0.75 * GRID[0] ** 2)
RATIOS = (0.25, 0.5, 0.75, 0.9)


class Block(nn.Module):
    """A pre-norm block that attends to itself, or to a memory."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out, self.up = nn.Linear(width, width), nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, t: Tensor, memory: Tensor | None = None) -> Tensor:
        """Return the tokens."""
        normed = self.norms[0](t)
        source = normed if memory is None else self.norms[0](memory)
        q, k, v = (
            part.unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in (self.q(normed), *self.kv(source).chunk(2, dim=2))
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        t = t + self.out(mixed.transpose(1, 2).flatten(2))
        return t + self.down(F.gelu(self.up(self.norms[1](t))))


class Masked(nn.Module):
    """The network and its loss, written out."""

    def __init__(self):
        super().__init__()
        self.embed, self.entry = nn.Linear(PATCH**2, WIDTH), nn.Linear(WIDTH, NARROW)
        self.mask = nn.Parameter(torch.zeros(NARROW))
        self.cells = nn.Linear(NARROW, PATCH**2)
        self.positions = [sine_cosine(GRID, width) for width in (WIDTH, NARROW)]
        self.encoder = nn.ModuleList(Block(WIDTH) for _ in range(LAYERS))
        self.decoder = nn.ModuleList([Block(NARROW)])
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(NARROW)])

    def forward(self, x: Tensor) -> Tensor:
        """Return the loss."""
        n = len(x)
        patches = x.view(n, GRID[0], PATCH, GRID[1], PATCH).transpose(2, 3).reshape(n, N_TOKENS, -1)
        order = torch.rand(n, N_TOKENS).argsort(1)
        seen, asked = order[:, :-N_HIDDEN], order[:, -N_HIDDEN:]
        tokens = self.embed(patches) + self.positions[0]
        tokens = tokens.gather(1, seen[:, :, None].expand(-1, -1, WIDTH))
        for block in self.encoder:
            tokens = block(tokens)
        memory = self.entry(self.norms[0](tokens)) + self.positions[1][seen]
        tokens = self.mask + self.positions[1][asked]
        for block in self.decoder:
            tokens = block(tokens, memory)
        predicted = self.cells(self.norms[1](tokens))
        target = patches.gather(1, asked[:, :, None].expand(-1, -1, PATCH**2))
        return F.mse_loss(predicted, target)


def steps_by_ratio(n: int, repeats: int) -> list[dict]:
    """Return the median times of a step without the update, for each fraction of hidden tokens."""
    model = MaskedAutoencoder(architecture=ViT(patch_size=PATCH), max_iter=1, random_state=0)
    module = model.fit(np.random.default_rng(0).random((64, SIDE**2))).module_.train()
    encoder, decoder = module.encoder, module.decoder
    x, records = torch.randn(n, SIDE**2), []
    for ratio in (0.0, *RATIOS):
        times: dict[str, list[float]] = {"encoder": [], "whole": []}
        n_seen = N_TOKENS - round(ratio * N_TOKENS)
        for _ in range(repeats):
            order = torch.rand(n, N_TOKENS).argsort(1)
            visible = Visible(order[:, :n_seen], None)
            for part, values in times.items():
                start = time.perf_counter()
                output = encoder.visible(x, visible)
                if part == "whole" and ratio:
                    output = decoder.predict(order[:, n_seen:], output, visible)
                output.square().mean().backward()
                values.append(time.perf_counter() - start)
        records.append({"mask_ratio": ratio} | {k: float(np.median(v)) for k, v in times.items()})
    return records


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=5, help="counted, after one of warm-up")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    X = torch.rand(arguments.rows, SIDE**2)
    loop = Masked()
    turns = Turns(X, arguments.batch_size, loop.parameters(), loop)
    MaskedAutoencoder(
        architecture=ViT(patch_size=PATCH),
        batch_size=arguments.batch_size,
        max_iter=arguments.epochs + 1,
        early_stopping=False,
        net_params={"callbacks": [turns]},
    ).fit(X.numpy())
    record = turns.medians()
    print(
        f"fit {record['fit_seconds']:.2f} s, loop {record['loop_seconds']:.2f} s an epoch of "
        f"{arguments.rows} rows, ratio {record['ratio']:.3f}"
    )
    by_ratio = steps_by_ratio(arguments.batch_size, repeats=9)
    print("mask_ratio   encoder ms   whole ms   encoder, relative to no mask")
    for r in by_ratio:
        relative = by_ratio[0]["encoder"] / r["encoder"]
        print(
            f"{r['mask_ratio']:10.2f} {1e3 * r['encoder']:12.1f} {1e3 * r['whole']:10.1f} "
            f"{relative:10.2f}x"
        )
    write_json(arguments.json, [record, *by_ratio])


if __name__ == "__main__":
    main()
