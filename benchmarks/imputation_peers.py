"""The imputers that benchmarks compare: of skae, of scikit-learn, and of others if installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from types import MethodType
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skae import AutoencoderImputer, DenoisingAutoencoder, VariationalAutoencoder

MIDAS_DRAWS = 10


class Miwae:
    """hyperimpute's MIWAE, whose defaults are one latent and one hidden unit."""

    def __init__(self, seed: int):
        from hyperimpute.plugins.imputers import Imputers

        units = {"latent_size": 8, "n_hidden": 128}
        self.plugin = Imputers().get("miwae", random_state=seed, **units)

    def fit(self, X: np.ndarray) -> Miwae:
        """Fit the plugin."""
        self.plugin.fit(X)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return completed rows as an array."""
        return np.asarray(self.plugin.transform(X))


class HyperImpute:
    """hyperimpute's imputer of the same name, with its assignments made to work in pandas 3.

    It completes the rows that it is fitted to, and no others: here, the training rows and the
    others together.
    """

    def __init__(self, seed: int):
        from hyperimpute.plugins.imputers import Imputers

        self.plugin = Imputers().get("hyperimpute", random_state=seed)
        model = self.plugin.model
        model._impute_single_column = MethodType(impute_single_column, model)

    def fit(self, X: np.ndarray) -> HyperImpute:
        """Store the training rows."""
        self.X = X
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Fit to all rows, and return the new ones completed."""
        rows = pd.DataFrame(np.concatenate([self.X, X]))
        return np.asarray(self.plugin.fit_transform(rows))[len(self.X) :]


def impute_single_column(self: Any, X: pd.DataFrame, column: str, train: bool) -> pd.DataFrame:
    """Return X with a column imputed by its model.

    The method that this replaces assigns to ``X[column][rows]``, which pandas 3 ignores.
    """
    missing = self.mask[column]
    if not missing.any():
        return X
    others, y = X[self._get_neighbors_for_col(column)], X.loc[~missing, column]
    if column in self.categorical_cols:
        y = y.astype(int)
    if (y == y.iloc[0]).all():
        X.loc[missing, column] = y.iloc[0]
        return X
    model = self.column_to_model[column]
    if train:
        model.fit(others[~missing], y)
    predicted = np.ravel(model.predict(others[missing]))
    X.loc[missing, column] = np.clip(predicted, *self.limits[column])
    return X


class Midas:
    """The denoising autoencoder of MIDAS2; the mean of several draws."""

    def __init__(self, seed: int):
        from midas2 import MIDAS

        self.seed, self.model = seed, MIDAS()

    def fit(self, X: np.ndarray) -> Midas:
        """Fit with the default number of epochs."""
        self.model.fit(pd.DataFrame(X), seed=self.seed, verbose=False)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the mean of completed tables."""
        draws = self.model.transform(pd.DataFrame(X), m=MIDAS_DRAWS, format_X=True)
        return np.mean([np.asarray(draw) for draw in draws], axis=0)


PEERS: dict[str, tuple[str, Callable[[int], Any]]] = {  # with the module that they need
    "HyperImpute": ("hyperimpute", HyperImpute),
    "MIWAE (hyperimpute)": ("hyperimpute", Miwae),
    "MIDAS2": ("midas2", Midas),
}


def missforest(seed: int) -> IterativeImputer:
    """Return an imputer with the defaults of missForest in R; it stops by another rule."""
    forest = RandomForestRegressor(100, max_features="sqrt", random_state=seed)
    return IterativeImputer(forest, max_iter=10, random_state=seed)


def imputers() -> dict[str, Callable[[int], Any]]:
    """Return makers of imputers by name, given a seed; of peers, those that are installed."""
    masking = DenoisingAutoencoder(noise="masking", noise_level=(0.05, 0.6))
    return {
        "skae": lambda seed: AutoencoderImputer(random_state=seed),
        "skae, masking denoiser": lambda seed: AutoencoderImputer(masking, random_state=seed),
        "skae, variational": lambda seed: AutoencoderImputer(
            VariationalAutoencoder(8), random_state=seed
        ),
        **{name: make for name, (module, make) in PEERS.items() if find_spec(module)},
        "forest": lambda seed: IterativeImputer(
            ExtraTreesRegressor(100, random_state=seed), max_iter=5, random_state=seed
        ),
        "MissForest-like": missforest,
        "KNNImputer": lambda seed: KNNImputer(),
        "IterativeImputer": lambda seed: IterativeImputer(random_state=seed),
        "column means": lambda seed: SimpleImputer(),
    }
