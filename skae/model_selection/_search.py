from __future__ import annotations

from typing import Any, Self

from numpy.typing import ArrayLike
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from skae.model_selection._backend import side_by_side


class _Batched:
    """A search whose candidates and folds are fitted side by side."""

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, **params: Any) -> Self:
        """Fit all candidates to all folds, and the best one to all samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Targets, for scores and steps that use them.
        **params : dict
            Further metadata for ``fit``, the splitter and the scorer.

        Returns
        -------
        self : object
            The fitted search.
        """
        with side_by_side(self.n_jobs):  # type: ignore[attr-defined]
            return super().fit(X, y, **params)  # type: ignore[misc]


class BatchedGridSearchCV(_Batched, GridSearchCV):
    """Exhaustive search with cross-validation, with networks trained as one program.

    It has the parameters, attributes and methods of
    :class:`~sklearn.model_selection.GridSearchCV`, and its results. All candidates and folds are
    fitted side by side: networks of one structure are trained together, each with its own
    hyperparameters, samples, random numbers and early stopping, as it would be alone. This is
    several times faster for small networks.

    Parameters
    ----------
    estimator : estimator
        An autoencoder, a ``Pipeline`` with one, or an estimator that trains one, such as
        `AutoencoderOutlierDetector` and `AutoencoderImputer`.
    param_grid : dict or list of dict
        Values to try for each parameter. Numbers that only the objective or the optimiser uses,
        such as ``alpha``, ``beta``, ``noise_level``, ``learning_rate`` and ``weight_decay``, are
        trained together; values that change the sizes of tensors are trained group by group.
    scoring : str, callable, list, tuple or dict, default=None
        Scores of held-out samples; None is ``estimator.score``.
    n_jobs : int, default=None
        Number of processes for networks that cannot be trained together with others.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate to all samples; the score to choose it by.
    cv : int, cross-validation generator or iterable, default=None
        Splits; None is 5 folds.
    verbose : int, default=0
        Messages of scikit-learn; they come when the candidates are done.
    pre_dispatch : int or str, default='2*n_jobs'
        Ignored: all candidates are fitted side by side.
    error_score : 'raise' or float, default=nan
        Score of a candidate whose fit fails.
    return_train_score : bool, default=False
        Whether ``cv_results_`` has scores of the training samples.

    See Also
    --------
    BatchedRandomizedSearchCV : Draws candidates at random.

    Notes
    -----
    Networks are not trained together with others if they have ``net_params``, ``checkpoint``,
    ``verbose``, ``precision='bf16'``, layers of torch that draw random numbers or keep statistics
    of batches, or samples out of memory. The logger ``skae`` says so at level INFO.

    ``mean_fit_time`` includes the time that a fit waits for those that are trained with it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skae import SparseAutoencoder
    >>> from skae.model_selection import BatchedGridSearchCV
    >>> model = SparseAutoencoder(4, max_iter=5, random_state=0)
    >>> grid = {"alpha": [0.01, 0.1], "learning_rate": [1e-3, 1e-2]}
    >>> search = BatchedGridSearchCV(model, grid, cv=3).fit(load_iris().data)
    >>> search.cv_results_["mean_test_score"].shape
    (4,)
    """


class BatchedRandomizedSearchCV(_Batched, RandomizedSearchCV):
    """Randomised search with cross-validation, with networks trained as one program.

    It has the parameters, attributes and methods of
    :class:`~sklearn.model_selection.RandomizedSearchCV`, and its results; see
    `BatchedGridSearchCV`.

    Parameters
    ----------
    estimator : estimator
        See `BatchedGridSearchCV`.
    param_distributions : dict or list of dict
        Distributions or lists of values to draw each parameter from.
    n_iter : int, default=10
        Number of candidates.
    random_state : int, RandomState instance or None, default=None
        Determines the candidates.
    scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score : object
        See `BatchedGridSearchCV`.

    See Also
    --------
    BatchedGridSearchCV : Tries all combinations of given values.

    Examples
    --------
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_iris
    >>> from skae import SparseAutoencoder
    >>> from skae.model_selection import BatchedRandomizedSearchCV
    >>> model = SparseAutoencoder(4, max_iter=5, random_state=0)
    >>> search = BatchedRandomizedSearchCV(
    ...     model, {"alpha": loguniform(1e-3, 1)}, n_iter=6, cv=3, random_state=0
    ... )
    >>> search.fit(load_iris().data).cv_results_["mean_test_score"].shape
    (6,)
    """
