from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from skae._schema import persistent
from skae.autoencoders._dictionary import DictionaryAutoencoder
from skae.autoencoders._saelens import check_supported
from skae.data import Batch, RowDataset
from skae.hyperparameters import POSITIVE_INT, hyperparameters, one_of, param
from skae.training import AutoencoderModule, LayerSizes

REVIVAL = 1 / 32  # weight of the auxiliary loss of inactive units (Gao et al. 2024)
N_BINS = 1024  # of the histogram of absolute values that determines the threshold
N_REFINEMENTS = 3  # of that histogram


def top(h: Tensor, k: int) -> Tensor:
    """Set all but the k entries of largest absolute value of each row to zero."""
    index = h.abs().topk(k, dim=1, sorted=False).indices
    return torch.zeros_like(h).scatter(1, index, h.gather(1, index))


def weighted_top(h: Tensor, k: int, weight: Tensor) -> Tensor:
    """Set all but the largest entries of all rows to zero; on average, k per row remain."""
    order = h.abs().flatten().argsort(descending=True)
    cumulative = weight[:, None].expand_as(h).flatten()[order].double().cumsum(0)
    keep = cumulative <= k * weight.double().sum() * (1 + 1e-6)  # rounding
    mask = torch.zeros_like(keep).scatter(0, order, keep).reshape(h.shape)
    return torch.where(mask, h, 0)


@persistent
@hyperparameters
class KSparseAutoencoder(DictionaryAutoencoder):
    r"""Autoencoder that keeps the k largest entries of a wide code.

    .. math:: z = \text{top}_k(f(x)), \qquad \hat x = W z + b,
              \qquad \min \sum_i w_i \frac{1}{d} \Bigl( \lVert \hat x_i - x_i \rVert^2
              + \tfrac{1}{32} \lVert \hat x_i + \hat e_i - x_i \rVert^2 \Bigr),

    where :math:`\text{top}_k` sets all but the k entries of largest absolute value to zero, so that
    gradients flow through the kept entries only. The second term prevents units from staying
    inactive: :math:`\hat e = W \tilde z` is the contribution of the k largest of the units that are
    inactive in the batch, added to a reconstruction through which no gradient flows. Columns of
    :math:`W` are normalised to norm 1.

    With ``selection="batch"``, k entries per sample are kept on average over a batch. After
    training, entries of at least ``threshold_`` are kept, which are k per sample on average over
    the training set, so that the code of a sample does not depend on other samples; more may be
    kept for samples that differ from the training set. With ``positive_code=True``, negative
    entries of f(x) are set to zero first, so that at most k are kept.

    With ``group_sizes``, the units form nested groups, as in Matryoshka sparse autoencoders. The
    first term is then the mean of the errors of several reconstructions, from the first m units
    each,

    .. math:: \frac{1}{|M|} \sum_{m \in M} \lVert \hat x_i^{(m)} - x_i \rVert^2, \qquad
              \hat x^{(m)} = \sum_{j \le m} z_j W_j + b,

    with M the sizes of the groups. Units of the first groups, which are in most of these sums,
    learn frequent, general patterns, and later ones details.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    threshold_ : float
        Absolute value from which entries are kept, determined by the training samples of the last
        call; with ``selection="batch"`` only.
    {attributes}

    See Also
    --------
    SparseAutoencoder : Sparse codes by a penalty.

    References
    ----------
    Makhzani, A. and Frey, B. (2014). "k-Sparse autoencoders". International Conference on Learning
    Representations.

    Gao, L. et al. (2024). "Scaling and evaluating sparse autoencoders". arXiv:2406.04093.

    Bussmann, B., Leask, P. and Nanda, N. (2024). "BatchTopK sparse autoencoders".
    arXiv:2412.06410.

    Bussmann, B., Nabeshima, N., Karvonen, A. and Nanda, N. (2025). "Learning multi-level features
    with Matryoshka sparse autoencoders". arXiv:2503.17547.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import KSparseAutoencoder
    >>> X = load_digits().data
    >>> sparse = KSparseAutoencoder(100, n_nonzero_coefs=5, max_iter=5, random_state=0).fit(X)
    >>> (sparse.transform(X[:3]) != 0).sum(axis=1)
    array([5, 5, 5])
    """

    n_nonzero_coefs: int | None = param(
        POSITIVE_INT,
        None,
        default=None,
        doc="""
        Number of entries of the code that are kept for each sample. If None, a tenth of the number
        of features, and at least 1.""",
    )
    positive_code: bool = param(
        "boolean",
        default=False,
        doc="""
        Whether negative entries are set to zero, so that a unit represents one pattern, not also
        its opposite. This improves the features and increases the reconstruction error.""",
    )
    selection: str = param(
        one_of("row", "batch"),
        default="row",
        doc="Whether the number is kept for each sample, or on average over a batch.",
    )
    group_sizes: Any = param(
        "array-like",
        None,
        default=None,
        doc="""
        Increasing sizes of nested groups of units: a group of size m is the first m units, and each
        group learns to reconstruct the samples by itself. The group of all units is added if it
        is missing. A list of all sizes up to ``n_components`` orders the units one by one. If None,
        there are no groups. Training decodes once per group.""",
    )

    def _before_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        super()._before_fit(module, rows)
        self._before_resume(module, rows)
        self._n_kept(rows.n_features, self.n_components_)

    def _before_resume(self, module: AutoencoderModule, rows: RowDataset) -> None:
        self._equal_weights = rows.equal_weights
        self._sizes_of_groups(self.n_components_)

    def _n_kept(self, n_features: int, n_components: int) -> int:
        if self.n_nonzero_coefs is None:
            return min(max(1, n_features // 10), n_components)
        if self.n_nonzero_coefs > n_components:
            raise ValueError(
                f"n_nonzero_coefs={self.n_nonzero_coefs} is more than the {n_components} "
                "components; lower it, or raise n_components."
            )
        return self.n_nonzero_coefs

    def _sizes_of_groups(self, n_components: int) -> list[int]:
        """Return the sizes of the nested groups, the last of which has all units."""
        sizes = [] if self.group_sizes is None else list(self.group_sizes)
        bounds = zip([0, *sizes], [*sizes, n_components + 1], strict=True)
        if not (all(isinstance(m, Integral) for m in sizes) and all(a < b for a, b in bounds)):
            raise ValueError(
                f"group_sizes={self.group_sizes!r} must be increasing integers from 1 to the "
                f"number of components, {n_components}."
            )
        return [int(m) for m in sizes if m < n_components] + [n_components]

    def _allowed(self, h: Tensor) -> Tensor:
        """Return the entries that may be kept, (n, k)."""
        return h.relu() if self.positive_code else h

    def _code(self, module: AutoencoderModule, h: Tensor) -> Tensor:
        h = self._allowed(h)
        if self.selection == "batch":
            return torch.where(h.abs() >= module.get_buffer("threshold"), h, 0)
        return top(h, self._n_kept(len(module.output_bias), h.shape[1]))

    def _saelens_activation(self) -> dict[str, Any]:
        if self.selection == "batch":
            check_supported(
                self.positive_code,
                type(self).__name__,
                "set positive_code=True or selection='row'.",
            )
            return {"architecture": "jumprelu", "threshold": self.threshold_}
        k = self._n_kept(self.n_features_in_, self.n_components_)
        architecture = "topk" if self.positive_code else "abstopk"
        return {"architecture": architecture, "k": k, "rescale_acts_by_decoder_norm": False}

    def _objective(self, module: AutoencoderModule, batch: Batch) -> dict[str, Tensor]:
        h = self._allowed(module.encode(self._inputs(self._corrupt(module, batch))))
        k = self._n_kept(batch.x.shape[1], h.shape[1])
        if self.selection == "row":
            z = top(h, k)
        elif batch.share is not None:
            z = torch.where(h.detach().abs() >= self._threshold_of(h.detach(), k, batch), h, 0)
        elif self._equal_weights:
            z = top(h.reshape(1, -1), k * len(h)).reshape(h.shape)
        else:
            z = weighted_top(h, k, batch.weight)
        # The contribution of inactive units, with the gradient of the rest stopped.
        inactive = top(torch.where(batch.any(z != 0), 0.0, h), k)
        n, unit = len(z), torch.arange(z.shape[1], device=z.device)
        *smaller, _ = self._sizes_of_groups(z.shape[1])
        nested = [torch.where(unit < size, z, 0) for size in smaller]
        codes = torch.cat([*nested, z, inactive, torch.zeros_like(z[:1])])
        *outputs, of_inactive, of_zero = module.decode(codes).split([n] * (len(nested) + 2) + [1])
        revival = module.reconstruction_loss(outputs[-1].detach() + of_inactive - of_zero, batch)
        losses = [module.reconstruction_loss(output, batch) for output in outputs]
        reconstruction = torch.stack(losses).mean(0) if nested else losses[0]
        return {"reconstruction": reconstruction, "revival": REVIVAL * revival}

    def _threshold_of(self, h: Tensor, k: int, batch: Batch) -> Tensor:
        """Return the least absolute value that is kept in a batch that processes share."""
        assert batch.share is not None
        group, most = batch.share.group, k * batch.n_samples
        weight = batch.weight[:, None].expand_as(h).flatten()
        size = torch.where(weight > 0, h.abs().flatten(), -1.0)
        if self._equal_weights:  # those that can be among the largest of all
            size, weight = size.topk(min(most, len(size))).values, weight[:most]
        size, order = group.gather(size).sort(descending=True)
        if self._equal_weights:
            return size[min(most, len(size)) - 1]
        cumulative = group.gather(weight)[order].double().cumsum(0)
        total = group.sum(batch.weight.double().sum())
        n_kept = (cumulative <= k * total * (1 + 1e-6)).sum()  # rounding
        return size[(n_kept - 1).clamp_min(0)]

    def _added_tensors(self, layer_sizes: LayerSizes) -> dict[str, Tensor]:
        return {"threshold": torch.empty((), device="meta")} if self.selection == "batch" else {}

    def _after_fit(self, module: AutoencoderModule, rows: RowDataset) -> None:
        if self.selection == "batch":
            weight = rows.weight.double() / rows.total_weight
            self.threshold_ = self._threshold(module, rows, weight)
            module.register_buffer("threshold", torch.tensor(self.threshold_).to(module.scale))
        super()._after_fit(module, rows)

    def _threshold(self, module: AutoencoderModule, rows: RowDataset, weight: Tensor) -> float:
        """Return the absolute value from which k entries per sample are kept on average.

        It is found by successively refined histograms, since sorting the entries of all samples
        would need too much memory. It is halfway between the least one that is kept and the
        largest one that is not, so that codes do not depend on rounding.
        """
        k = self._n_kept(rows.n_features, self.n_components_)
        low, high, above = 0.0, 0.0, 0.0
        for _, h in self._encoded(module, rows):
            high = max(high, float(self._allowed(h).abs().max()))
        high = float(rows.maximum(torch.tensor(high, dtype=torch.float64)))
        for _ in range(N_REFINEMENTS if high else 0):
            ends = torch.linspace(low, high, N_BINS + 1, dtype=torch.float64)
            counts = torch.zeros(N_BINS, dtype=torch.float64)
            for chunk, h in self._encoded(module, rows):
                size = self._allowed(h).abs().double()
                weights = weight[chunk, None].expand_as(size).contiguous()
                counts += torch.histogram(size, ends, weight=weights).hist
            counts = rows.sum(counts)
            reached = above + counts.flip(0).cumsum(0)
            i = min(int((reached < k * (1 - 1e-9)).sum()), N_BINS - 1)  # bins from the top
            above = float(reached[i] - counts[N_BINS - 1 - i])
            low, high = float(ends[N_BINS - 1 - i]), float(ends[N_BINS - i])
        return self._halfway(module, rows, low)

    def _halfway(self, module: AutoencoderModule, rows: RowDataset, least: float) -> float:
        """Return the middle of the entries on both sides of a value; the value if one has none."""
        below, above = -math.inf, math.inf
        for _, h in self._encoded(module, rows):
            size = self._allowed(h).abs().double()
            below = max(below, float(torch.where(size < least, size, -math.inf).max()))
            above = min(above, float(torch.where(size < least, math.inf, size).min()))
        below, above = rows.maximum(torch.tensor([below, -above], dtype=torch.float64)).tolist()
        return (below - above) / 2 if math.isfinite(below - above) else least
