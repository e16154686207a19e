"""Search of similar samples by any autoencoder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted

from skae import _schema as schema
from skae._composite import AutoencoderComposite
from skae._sklearn import _fit_context, _routing_enabled
from skae._sklearn_types import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    with_callbacks,
)
from skae._validation import (
    check_finite_result,
    check_sample_weight,
    random_state_of,
    unchanged_on_error,
)
from skae.autoencoders import QuantizedAutoencoder
from skae.base import CALLBACK_STATE, BaseAutoencoder
from skae.data import FLOATS, DataSource, read_source
from skae.hyperparameters import NON_NEGATIVE, POSITIVE_INT, hyperparameters, one_of, param
from skae.retrieval._hamming import pack
from skae.retrieval._neighbors import NeighborSearch
from skae.retrieval._storage import gen_parts, store

DEFAULTS: dict[str, Any] = {"mask_ratio": 0.5, "n_neighbors": 10}  # of the default autoencoder


@schema.persistent
@hyperparameters
class AutoencoderSearch(
    NeighborSearch,
    AutoencoderComposite,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    r"""Search of similar samples by the codes of any autoencoder.

    An autoencoder is fitted, and the codes of the samples are stored: a vector index. The nearest
    neighbors of a query :math:`x` are the samples with the smallest distance of their codes from
    its own. With the default, codes are ``n_bits`` bits (semantic hashing), and

    .. math:: d(x, x_i) = \sum_{b=1}^{B} [z_b(x) \ne z_b(x_i)], \qquad z(x) \in \{-1, 1\}^B,

    is the Hamming distance, the number of bits that differ. The search by it is exact: every stored
    code is compared, 64 bits at a time, and of equal distances the lower index is first. Codes of
    other autoencoders are compared by their Euclidean distance, with
    `sklearn.neighbors.NearestNeighbors`.

    With ``rerank=r``, the r samples with the nearest codes are sorted by the Euclidean distance of
    the samples themselves, which removes most errors of short codes.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    estimator_ : autoencoder
        The fitted autoencoder.
    codes_ : ndarray of shape (n_stored, ceil(n_bits / 8)) or (n_stored, n_components)
        Codes of the stored samples. Bits are packed into bytes (uint8) as by `numpy.packbits`, the
        last byte padded by zeros.
    rows_ : ndarray of shape (n_stored, n_features) or None
        Stored samples, with ``rerank``.
    n_samples_fit_ : int
        Number of stored samples.
    n_features_in_ : int
        Number of features seen during ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if they were all strings.

    Warns
    -----
    AutoencoderWarning
        If the training of the autoencoder diverges, so that it stays at its start.

    See Also
    --------
    QuantizedAutoencoder : The default autoencoder.
    sklearn.neighbors.NearestNeighbors : Searches by distances of the samples themselves.
    sklearn.neighbors.KNeighborsTransformer : The same graph of distances as ``transform``.

    Notes
    -----
    Features are not scaled: scale them first if their units differ, as in
    ``make_pipeline(StandardScaler(), AutoencoderSearch())``.

    Samples of weight 0 and samples without an observed value are stored, too.

    Pickle, ``skae.save`` and copies contain the codes, also those of ``memmap_dir``, and hold them
    in memory when they are loaded; the next ``add`` writes them to ``memmap_dir`` again.

    References
    ----------
    Salakhutdinov, R. and Hinton, G. E. (2009). "Semantic hashing". International Journal of
    Approximate Reasoning 50(7), 969-978.

    Norouzi, M., Punjani, A. and Fleet, D. J. (2014). "Fast exact search in Hamming space with
    multi-index hashing". IEEE Transactions on Pattern Analysis and Machine Intelligence 36(6),
    1107-1119.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderSearch
    >>> X, y = load_digits(return_X_y=True)
    >>> search = AutoencoderSearch(n_bits=32, random_state=0).fit(X[:1500])
    >>> search.codes_.shape  # four bytes for each image
    (1500, 4)
    >>> distances, indices = search.kneighbors(X[1500:], n_neighbors=3)
    >>> bool((y[indices] == y[1500:, None]).mean() > 0.8)
    True
    >>> search.add(X[1500:]).n_samples_fit_
    1797
    """

    estimator: Any = param(
        BaseAutoencoder,
        None,
        default=None,
        kw_only=False,
        doc="""
        The autoencoder. If None, ``QuantizedAutoencoder(n_bits, mask_ratio=0.5, n_neighbors=10)``,
        whose codes are bits that nearby samples have in common.""",
    )
    n_bits: int = param(
        POSITIVE_INT,
        default=32,
        doc="Number of bits of a code, if ``estimator`` is None.",
    )
    n_neighbors: int = param(
        POSITIVE_INT, default=5, doc="Number of neighbors, where a method is given none."
    )
    radius: float = param(
        NON_NEGATIVE,
        default=1.0,
        doc="Radius of ``radius_neighbors``, in the distance of codes, where it is given none.",
    )
    rerank: int | None = param(
        POSITIVE_INT,
        None,
        default=None,
        doc="""
        Number of samples with the nearest codes that are sorted again by their Euclidean distance,
        of which the nearest ones are returned. ``fit`` then stores the samples, too, with
        reconstructions in the place of missing values. If None, neighbors are those by code.""",
    )
    mode: str = param(
        one_of("distance", "connectivity"),
        default="distance",
        doc="""
        What ``transform`` returns: 'distance' is the distances to ``n_neighbors + 1`` neighbors, of
        which a stored sample itself is one; 'connectivity' is ones for ``n_neighbors``.""",
    )

    memmap_dir: str | os.PathLike[str] | None = param(
        str,
        os.PathLike,
        None,
        default=None,
        doc="""
        Directory of ``codes.npy`` and, with ``rerank``, ``rows.npy``, which ``fit`` and ``add``
        replace and which are memory-mapped, so that they may exceed the memory. If None, they are
        kept in memory.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Seed of the autoencoder. If None, the ``random_state`` of ``estimator`` is left unchanged.
        """,
    )

    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "n_features_in_": schema.integer(1),
        "feature_names_in_": schema.optional(schema.names("n_features_in_")),
        "estimator_": schema.instance(BaseAutoencoder),
        "codes_": schema.array("uf", None, None, finite=True),
        "rows_": schema.either(
            schema.instance(None), schema.array("f", None, "n_features_in_", finite=True)
        ),
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "estimator_" not in state:
            return
        model, codes, rows = (state[name] for name in ("estimator_", "codes_", "rows_"))
        if not hasattr(model, "module_") or model.n_features_in_ != state["n_features_in_"]:
            raise ValueError("'estimator_' is not fitted to as many features")
        width = -(-model.n_components_ // 8) if is_binary(model) else model.n_components_
        kinds = [np.uint8] if is_binary(model) else FLOATS
        if not len(codes) or codes.shape[1] != width or codes.dtype not in kinds:
            raise ValueError("'codes_' are not codes of its autoencoder")
        if is_binary(model) and (codes[:, -1] & (2 ** (-model.n_components_ % 8) - 1)).any():
            raise ValueError("'codes_' have bits beyond those of its autoencoder")
        if rows is not None and (len(rows) != len(codes) or rows.dtype not in FLOATS):
            raise ValueError("'rows_' are not as many as its codes")

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Fit the autoencoder, and store the codes of the samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples. NaN marks a missing value. Sparse matrices and memory maps are read batch by
            batch.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights in the training of the autoencoder. If None, all samples are weighted
            equally.
        **params : dict
            Further metadata for the autoencoder's ``fit``, where metadata routing is enabled.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X cannot be fitted by an autoencoder, or ``memmap_dir`` is not a writable directory.
            The estimator then stays as it was.
        """
        with unchanged_on_error(self, but=CALLBACK_STATE), self._steps(2, X=X, y=y):
            source = read_source(self, X, reset=True, at_least=2)
            check_sample_weight(sample_weight, len(source))
            params = self._routed(sample_weight, params)
            model = self._seeded(self._estimator(), random_state_of(self.random_state))
            with self._step("autoencoder", model):
                self.estimator_ = model._fit_or_start(source.X, **params)
            with self._step("codes"):
                arrays = {"codes": self._gen_codes(source)}
                if self.rerank is not None:
                    arrays["rows"] = self._gen_rows(source)
                self._store(len(source), arrays)
        return self

    def add(self, X: ArrayLike) -> Self:
        """Store the codes of further samples; the autoencoder stays as it is.

        The stored codes are copied, so that few calls with many samples each are faster.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, whose indices follow those that are stored. NaN marks a missing value.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If X has other features than those of ``fit``, or contains infinity. The estimator then
            stays as it was.
        """
        check_is_fitted(self)
        source = read_source(self, X, reset=False)
        arrays = {"codes": chain(gen_parts(self.codes_), self._gen_codes(source))}
        if self.rows_ is not None:
            arrays["rows"] = chain(gen_parts(self.rows_), self._gen_rows(source))
        with unchanged_on_error(self):
            self._store(self.n_samples_fit_ + len(source), arrays)
        return self

    def _estimator(self) -> BaseAutoencoder:
        if self.estimator is not None:
            return self.estimator
        new = QuantizedAutoencoder(self.n_bits, **DEFAULTS)
        return new.set_fit_request(sample_weight=True) if _routing_enabled() else new

    def _store(self, n_rows: int, chunks: Mapping[str, Iterator[NDArray]]) -> None:
        """Set what is stored, given as chunks of rows."""
        arrays = store(self.memmap_dir, n_rows, **chunks)
        self.codes_, self.rows_ = arrays["codes"], arrays.get("rows")
        self._set_index()

    def _set_index(self) -> None:
        self._index = None
        if not is_binary(self.estimator_):
            # A tree would copy the codes.
            algorithm = "brute" if isinstance(self.codes_, np.memmap) else "auto"
            self._index = NearestNeighbors(algorithm=algorithm).fit(self.codes_)

    def _parts(self, source: DataSource) -> Iterator[DataSource]:
        """Yield samples in chunks if results need not fit into memory, else all at once."""
        if self.memmap_dir is None:
            return iter([source])
        return (source.take(np.arange(*c.indices(len(source)))) for c in source.gen_chunks())

    def _gen_codes(self, source: DataSource) -> Iterator[NDArray]:
        return map(self._codes_of, self._parts(source))

    def _gen_rows(self, source: DataSource) -> Iterator[NDArray]:
        return map(self._rows_of, self._parts(source))

    def _codes_of(self, source: DataSource) -> NDArray:
        model = self.estimator_
        codes = model._apply(lambda fitted, module, batch: fitted._encode(module, batch), source)
        if is_binary(model):
            return pack(codes)
        with np.errstate(over="ignore"):  # distances that overflow have no order
            check_finite_result(4 * np.square(codes).sum(axis=1), "X")
        return codes

    def _rows_of(self, source: DataSource) -> NDArray:
        """Return samples with reconstructions in the place of missing values."""
        rows = source[:]
        missing = np.isnan(rows)
        return np.where(missing, self.estimator_.reconstruct(rows), rows) if missing.any() else rows

    @property
    def _n_features_out(self) -> int:
        return self.n_samples_fit_

    def __getstate__(self) -> dict[str, Any]:
        state = {k: v for k, v in super().__getstate__().items() if k != "_index"}
        for name in ("codes_", "rows_"):
            if isinstance(state.get(name), np.memmap):
                state[name] = np.array(state[name])  # the file may be replaced
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(dict(state))
        if hasattr(self, "codes_"):
            self._set_index()


def is_binary(model: BaseAutoencoder) -> bool:
    """Return whether the codes of a fitted autoencoder are bits."""
    return isinstance(model, QuantizedAutoencoder) and model._fit_params["levels"] == 2
