"""Compression by an autoencoder with integer codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags

from skae import _schema as schema
from skae._composite import AutoencoderComposite
from skae._sklearn import _fit_context, _routing_enabled
from skae._sklearn_types import (
    BaseEstimator,
    with_callbacks,
)
from skae._validation import (
    check_sample_weight,
    random_state_of,
    unchanged_on_error,
)
from skae.autoencoders import Autoencoder, QuantizedAutoencoder
from skae.base import CALLBACK_STATE, BaseAutoencoder
from skae.compression._codec import CodecMixin
from skae.compression._columns import ArrayColumns, FrameColumns, columns_for
from skae.compression._grouped_tables import GroupedTables
from skae.compression._rate_distortion import RateDistortionAutoencoder
from skae.compression._tolerance import Tolerance
from skae.data import subsample_evenly
from skae.hyperparameters import NON_NEGATIVE, POSITIVE, hyperparameters, param

MAX_COMPONENTS = 128  # of the default autoencoder
MAX_TABLE_ROWS = 2**17  # that probabilities are learned from


@schema.persistent
@hyperparameters
class AutoencoderCompressor(CodecMixin, AutoencoderComposite, BaseEstimator):
    r"""Lossy compression of images and tables by an autoencoder.

    Samples are encoded as integers z, and these by an entropy coder, with a table of the
    probabilities of each component. With d the number of features, f the encoder and g the
    decoder, training minimises the distortion plus the weighted rate,

    .. math:: \min \; \mathbb{E} \left[ \frac1d \sum_j \ell(\hat x_j, x_j)
        - \frac{\lambda}{d} \sum_j \log_2 p_j(z_j) \right], \qquad z = f(x) + u, \quad
        \hat x = g(z),

    in units in which the mean variance of the features is 1. In training, uniform noise u stands
    for rounding and :math:`p_j` is a logistic distribution; afterwards z is rounded and
    :math:`p_j` is counted, in groups of samples that are similar in size, whose number is coded
    first. Training starts at principal components in equal steps, and a later
    epoch is kept only if it is significantly better on validation samples.

    The tables of probabilities are integers: what ``compress`` writes is decoded to the same
    integers z on every machine, with any precision and any number of threads. Their
    reconstructions differ by rounding at most.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    estimator_ : autoencoder
        The fitted autoencoder.
    n_features_in_ : int
        Number of features seen during ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if they were all strings.

    See Also
    --------
    QuantizedAutoencoder : Codes of a fixed number of bits.
    skae.displays.RateDistortionDisplay : The error by the number of bits.
    AutoencoderSearch : Search by codes of few bits.

    Notes
    -----
    Features are not scaled, unless ``max_error`` has a value for each: they are divided by it then.
    Columns of DataFrames are encoded by a `TableEncoder`.

    Compression requires `constriction <https://pypi.org/project/constriction>`_, an entropy coder:
    ``pip install constriction``.

    References
    ----------
    Ballé, J., Laparra, V. and Simoncelli, E. P. (2017). "End-to-end optimized image compression".
    International Conference on Learning Representations.

    Theis, L., Shi, W., Cunningham, A. and Huszár, F. (2017). "Lossy image compression with
    compressive autoencoders". International Conference on Learning Representations.

    Bamler, R. (2022). "Understanding entropy coding with asymmetric numeral systems (ANS): a
    statistician's perspective". arXiv:2201.01741.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skae import AutoencoderCompressor
    >>> X = load_digits().data.astype("uint8")  # 64 pixels of 17 values
    >>> compressor = AutoencoderCompressor(rate_weight=0.1, random_state=0).fit(X[:1300])
    >>> data = compressor.compress(X[1300:])
    >>> type(data), len(data) < 0.2 * X[1300:].size
    (<class 'bytes'>, True)
    >>> again = compressor.decompress(data)
    >>> again.shape, again.dtype
    ((497, 64), dtype('uint8'))

    With a maximum error, cells that would be further off are corrected:

    >>> exact = AutoencoderCompressor(rate_weight=0.1, max_error=1, random_state=0).fit(X[:1300])
    >>> again = exact.decompress(exact.compress(X[1300:]))
    >>> int(np.abs(again.astype(int) - X[1300:]).max())
    1
    """

    estimator: Any = param(
        BaseAutoencoder,
        None,
        default=None,
        kw_only=False,
        doc="""
        An `Autoencoder`, whose networks and training parameters are used for the objective above,
        or a `QuantizedAutoencoder`, whose codes are compressed. If None,
        ``Autoencoder(n_components)`` with a component per feature, at most 128.""",
    )
    rate_weight: float = param(
        POSITIVE,
        default=0.01,
        doc="""
        Weight of the rate, in bits per feature, against the distortion, relative to the mean
        variance of the features. Where the rate is high, the mean squared error approaches 0.72
        ``rate_weight`` of that variance.""",
    )
    max_error: Any = param(
        "array-like",
        NON_NEGATIVE,
        None,
        default=None,
        doc="""
        Largest error of a cell, in X's units, one number or one per feature: of cells that would
        be further off, corrections are stored. With less than 1, integers are exact, as are
        categories with any. If None, errors have no bound.""",
    )
    random_state: Any = param(
        "random_state",
        default=None,
        doc="""
        Seed of the autoencoder. If None, the ``random_state`` of ``estimator`` is left
        unchanged.""",
    )

    _fitted_schema: ClassVar[dict[str, schema.Check]] = {
        "n_features_in_": schema.integer(1),
        "feature_names_in_": schema.optional(schema.names("n_features_in_")),
        "estimator_": schema.instance(RateDistortionAutoencoder, QuantizedAutoencoder),
        "_columns": schema.instance(ArrayColumns, FrameColumns),
        "_tolerance": schema.instance(Tolerance, None),
        "_tables": schema.instance(GroupedTables),
        "_rate_weight": schema.positive,
        "_digest": schema.text,
    }

    @classmethod
    def _check_state(cls, state: Mapping[str, Any]) -> None:
        """Raise ValueError where fitted attributes in a file do not belong together."""
        if "estimator_" not in state:
            return
        model, columns, tolerance = state["estimator_"], state["_columns"], state["_tolerance"]
        n = state["n_features_in_"]
        if not (hasattr(model, "module_") and hasattr(state["_tables"], "tables_")):
            raise ValueError("its autoencoder or its tables are not fitted")
        if not columns.is_fitted or len(columns.is_exact) != n:
            raise ValueError("its columns are not as many as its features")
        if columns.n_encoded != model.n_features_in_:
            raise ValueError("its columns are not those of its autoencoder")
        if tolerance is not None and not tolerance.is_valid(columns.is_exact):
            raise ValueError("its tolerance is not that of its features")
        n_corrections = 0 if tolerance is None else n
        if state["_tables"].n_columns_ != model.n_components_ + n_corrections:
            raise ValueError("its tables are not those of its codes")

    # -------------------------------------------------------------------------------- fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: ArrayLike, y: None = None, sample_weight: ArrayLike | None = None, **params: Any
    ) -> Self:
        """Train the autoencoder, and count how often its codes occur.

        Parameters
        ----------
        X : {array-like, DataFrame} of shape (n_samples, n_features)
            Training samples. NaN marks a missing value. Columns of a DataFrame may be numbers,
            booleans, categories or text. Images are rows of uint8, or of numbers in [0, 1].
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Per-sample weights. Samples with weight 0 are ignored. If None, all samples are weighted
            equally.
        **params : dict
            Further metadata for the autoencoder's ``fit``, where metadata routing is enabled.

        Returns
        -------
        self : object
            The fitted compressor.

        Raises
        ------
        ValueError
            If X cannot be fitted by an autoencoder; if ``max_error`` is not one number or one per
            feature, or not positive for a feature that is no integer; if ``estimator`` is of
            another class; if an architecture for images is given numbers outside of [0, 1] that
            are not uint8.
        """
        with (
            unchanged_on_error(self, but=CALLBACK_STATE),
            np.errstate(over="ignore", invalid="ignore"),  # results that overflow are refused
            self._steps(2, X=X, y=y),
        ):
            return self._fit(X, sample_weight, self._routed(sample_weight, params))

    def _fit(self, X: Any, sample_weight: ArrayLike | None, params: dict[str, Any]) -> Self:
        self._columns = columns_for(X)
        Z, numbers = self._columns.fit(X, self, sample_weight)
        self._tolerance = None
        self._check_images(numbers)
        weight = check_sample_weight(sample_weight, len(Z))
        if self.max_error is not None:
            self._columns.check_restorable(X)
            self._tolerance = self._tolerance_of(numbers[weight > 0])
            if np.ndim(self.max_error):
                Z = self._columns.in_units(Z, self._tolerance.step / 2)
        model = self._model()
        with self._step("autoencoder", model):
            model._fit_or_start(Z, **params)
        self.estimator_ = model
        self._rate_weight = float(self.rate_weight)
        with self._step("probabilities"):
            some = subsample_evenly(np.flatnonzero(weight > 0), MAX_TABLE_ROWS)
            symbols = self._symbols(Z[some], numbers[some])
            self._tables = GroupedTables().fit(symbols, weight[some])
        self._digest = joblib.hash(
            [self.estimator_, self._columns, self._tolerance, self._tables], hash_name="sha1"
        )
        return self

    def _tolerance_of(self, numbers: NDArray) -> Tolerance:
        columns = self._columns
        is_category = columns.n_levels > 0
        return Tolerance.of(
            self.max_error, columns.is_exact, is_category, columns.rounding(numbers)
        )

    def _estimator(self) -> BaseAutoencoder:
        if self.estimator is not None:
            return self.estimator
        columns = getattr(self, "_columns", None)
        new = Autoencoder(1 if columns is None else min(MAX_COMPONENTS, columns.n_encoded))
        return new.set_fit_request(sample_weight=True) if _routing_enabled() else new

    def _model(self) -> RateDistortionAutoencoder | QuantizedAutoencoder:
        """Return the autoencoder of integer codes, unfitted."""
        given = self._seeded(self._estimator(), random_state_of(self.random_state))
        if isinstance(given, QuantizedAutoencoder):
            return given
        if type(given) is not Autoencoder:
            raise ValueError(
                "estimator must be an Autoencoder, whose networks are trained for compression, or "
                f"a QuantizedAutoencoder; got {type(given).__name__}."
            )
        model = RateDistortionAutoencoder(
            **given.get_params(deep=False), rate_weight=self.rate_weight
        )
        if "_metadata_request" in vars(given):
            vars(model)["_metadata_request"] = vars(given)["_metadata_request"]
        return model

    def _check_images(self, numbers: NDArray) -> None:
        """Raise ValueError where an architecture for images is given other numbers."""
        architecture = getattr(self.estimator, "architecture", None)
        if getattr(architecture, "image_shape", None) is None:
            return
        dtype = getattr(self._columns, "dtype_", "table")
        low, high = np.nanmin(numbers, initial=np.inf), np.nanmax(numbers, initial=-np.inf)
        if dtype != "uint8" and (low < 0 or high > 1):
            raise ValueError(
                "The architecture of estimator is one of images, which must be uint8 or numbers in "
                f"[0, 1]; got {dtype} from {low:.4g} to {high:.4g}."
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
