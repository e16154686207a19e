"""Time of an epoch of every variant beside a loop that is written by hand for it.

Each loop trains the same graph with the same objective on the same rows: tensor slices, fused Adam,
no DataLoader. An epoch of one and an epoch of the other take turns in one process; the medians'
ratio is what counts. The contractive penalty is beside the plain network, too.

    python benchmarks/speed_of_variants.py --json variants.json
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from report import write_json
from speed import WIDTHS, Graph, Turns
from torch import Tensor, nn

import skae

D, UNITS, KEPT = WIDTHS[0], 1000, 25
PLAIN = {"init": "random", "linear_shortcut": False, "hidden_layer_sizes": WIDTHS[1:-1]}
Loop = tuple[Iterable[nn.Parameter], Callable[[Tensor], Tensor]]


def columns(weight: Tensor) -> Tensor:
    """Return columns of norm 1."""
    return weight * weight.square().sum(0).rsqrt()


def mean_square(x_hat: Tensor, x: Tensor) -> Tensor:
    """Return the mean squared error."""
    return F.mse_loss(x_hat, x)


def plain() -> Loop:
    """Return the network alone."""
    graph = Graph(shortcut=False)
    return graph.parameters(), lambda x: graph(x).mean()


def noisy(corrupt: Callable[[Tensor], Tensor]) -> Loop:
    """Return a denoising loop."""
    graph = Graph(shortcut=False)

    def loss(x: Tensor) -> Tensor:
        return mean_square(graph.decoder(graph.encoder(corrupt(x))) + graph.bias, x)

    return graph.parameters(), loss


def gaussian(x: Tensor) -> Tensor:
    """Add noise."""
    return x + 0.3 * torch.randn_like(x)


def masking(x: Tensor) -> Tensor:
    """Drop cells."""
    return torch.where(torch.rand_like(x) < 0.3, torch.zeros_like(x), x)


def salt_and_pepper(x: Tensor) -> Tensor:
    """Put the least or largest value in cells."""
    extreme = torch.where(torch.rand_like(x) < 0.5, torch.zeros_like(x), torch.ones_like(x))
    return torch.where(torch.rand_like(x) < 0.3, extreme, x)


def swap(x: Tensor) -> Tensor:
    """Put another row's value in cells."""
    return torch.where(torch.rand_like(x) < 0.3, x.gather(0, torch.randint(len(x), x.shape)), x)


def sparse() -> Loop:
    """Return a ReLU code with an L1 penalty and a decoder of unit columns."""
    encoder, decoder = nn.Linear(D, UNITS), nn.Linear(UNITS, D)

    def loss(x: Tensor) -> Tensor:
        z = torch.relu(encoder(x))
        x_hat = F.linear(z, columns(decoder.weight), decoder.bias)
        return mean_square(x_hat, x) + 0.03 / math.sqrt(D) * z.sum(1).mean()

    return [*encoder.parameters(), *decoder.parameters()], loss


def sparse_kl() -> Loop:
    """Return a sigmoid code whose mean activations are drawn to 0.05."""
    encoder, decoder = nn.Linear(D, UNITS), nn.Linear(UNITS, D)

    def loss(x: Tensor) -> Tensor:
        z = torch.sigmoid(encoder(x))
        x_hat = F.linear(z, columns(decoder.weight) * math.sqrt(D), decoder.bias)
        mean = z.mean(0)
        kl = 0.05 * (0.05 / mean).log() + 0.95 * (0.95 / (1 - mean)).log()
        return mean_square(x_hat, x) + 0.03 * kl.sum()

    return [*encoder.parameters(), *decoder.parameters()], loss


def k_sparse(over_batch: bool) -> Loop:
    """Return a top-k code with the auxiliary loss of Gao et al. (2024)."""
    encoder, decoder = nn.Linear(D, UNITS), nn.Linear(UNITS, D)

    def top(h: Tensor, k: int) -> Tensor:
        index = h.abs().topk(k, dim=1).indices
        return torch.zeros_like(h).scatter(1, index, h.gather(1, index))

    def loss(x: Tensor) -> Tensor:
        h = encoder(x)
        z = top(h.reshape(1, -1), KEPT * len(h)).reshape(h.shape) if over_batch else top(h, KEPT)
        weight = columns(decoder.weight)
        x_hat = F.linear(z, weight, decoder.bias)
        spare = top(h * (z == 0).all(0), KEPT)
        revival = mean_square(F.linear(spare, weight), (x - x_hat).detach())
        return mean_square(x_hat, x) + revival / 32

    return [*encoder.parameters(), *decoder.parameters()], loss


def contractive(n_code: int = WIDTHS[-1], exact: bool = False) -> Loop:
    """Return tied layers with the penalty, by Hutchinson's estimate or entry by entry."""
    encoder = Graph.stack((*WIDTHS[:-1], n_code))
    biases = nn.ParameterList(torch.zeros(n) for n in reversed(WIDTHS[:-1]))

    def loss(x: Tensor) -> Tensor:
        x = x.requires_grad_()
        z = encoder(x)
        layers = [layer for layer in encoder if isinstance(layer, nn.Linear)]
        h = z
        for i, (layer, bias) in enumerate(zip(reversed(layers), biases, strict=True)):
            h = F.linear(h if i == 0 else F.silu(h), layer.weight.T, bias)
        signs = (torch.randint(0, 2, z.shape).to(z) * 2 - 1)[None]
        if exact:
            signs = torch.eye(n_code)[:, None].expand(-1, len(z), -1)
        slopes = [torch.autograd.grad(z, x, s, create_graph=True)[0] for s in signs]
        penalty = sum(slope.square().sum(1).mean() for slope in slopes)
        return mean_square(h, x.detach()) + 1e-3 * penalty

    return [*encoder.parameters(), *biases], loss


def variational(likelihood: str) -> Loop:
    """Return the usual Gaussian autoencoder, with a Bernoulli or a Gaussian likelihood."""
    log_variance_of_x = torch.zeros((), requires_grad=True)
    encoder = nn.Sequential(nn.Linear(D, 400), nn.ReLU(), nn.Linear(400, 40))
    decoder = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, D))

    def loss(x: Tensor) -> Tensor:
        mean, log_variance = encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        if likelihood == "bernoulli":
            nll = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        else:
            away = (decoder(z) - x).square() * (-log_variance_of_x).exp()
            nll = 0.5 * (away + log_variance_of_x + math.log(2 * math.pi)).sum()
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        return (nll + kl) / len(x)

    own = [log_variance_of_x] if likelihood == "gaussian" else []
    return [*encoder.parameters(), *decoder.parameters(), *own], loss


VAE = {"linear_shortcut": False, "init": "random", "hidden_layer_sizes": (400,)}
VARIANTS: dict[str, tuple[skae.base.BaseAutoencoder, Callable[[], Loop]]] = {
    "plain": (skae.Autoencoder(WIDTHS[-1], **PLAIN), plain),
    "sparse": (skae.SparseAutoencoder(UNITS), sparse),
    "sparse, kl": (skae.SparseAutoencoder(UNITS, penalty="kl"), sparse_kl),
    "k-sparse, row": (
        skae.KSparseAutoencoder(UNITS, n_nonzero_coefs=KEPT),
        lambda: k_sparse(False),
    ),
    "k-sparse, batch": (
        skae.KSparseAutoencoder(UNITS, n_nonzero_coefs=KEPT, selection="batch"),
        lambda: k_sparse(True),
    ),
    **{
        f"denoising, {corrupt.__name__}": (
            skae.DenoisingAutoencoder(WIDTHS[-1], noise=corrupt.__name__, **PLAIN),
            lambda corrupt=corrupt: noisy(corrupt),
        )
        for corrupt in (gaussian, masking, salt_and_pepper, swap)
    },
    "contractive": (skae.ContractiveAutoencoder(WIDTHS[-1], **PLAIN), contractive),
    "contractive / plain": (skae.ContractiveAutoencoder(WIDTHS[-1], **PLAIN), plain),
    "contractive, exact": (
        skae.ContractiveAutoencoder(4, **PLAIN),
        lambda: contractive(4, exact=True),
    ),
    **{
        f"variational, {likelihood}": (
            skae.VariationalAutoencoder(20, likelihood=likelihood, activation="relu", **VAE),
            lambda likelihood=likelihood: variational(likelihood),
        )
        for likelihood in ("bernoulli", "gaussian")
    },
}


def main() -> None:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=7, help="counted, after one of warm-up")
    parser.add_argument("--json", type=Path, help="write every record here")
    arguments = parser.parse_args()
    X = torch.rand(arguments.rows, D)
    records = []
    for name, (model, loop) in VARIANTS.items():
        turns = Turns(X, arguments.batch_size, *loop())
        model.set_params(
            batch_size=arguments.batch_size,
            max_iter=arguments.epochs + 1,
            early_stopping=False,
            net_params={"callbacks": [turns]},
        ).fit(X.numpy())
        record = {"variant": name, **turns.medians()}
        print(
            f"{name}: fit {record['fit_seconds']:.3f} s, loop {record['loop_seconds']:.3f} s "
            f"an epoch of {arguments.rows} rows, ratio {record['ratio']:.3f}",
            flush=True,
        )
        records.append(record)
    write_json(arguments.json, records)


if __name__ == "__main__":
    main()
