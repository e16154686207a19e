"""Fits of dask collections on the workers of a dask cluster, and lazy results of fitted estimators.

Needs the extra ``dask``.
"""

try:
    import distributed  # noqa: F401
except ImportError as error:
    raise ImportError(
        "skae.dask needs dask's distributed scheduler, which is not installed: "
        "pip install 'skae[dask]'."
    ) from error

from skae.dask._fit import fit
from skae.dask._lazy import predict, reconstruct, score_samples, transform

__all__ = ["fit", "predict", "reconstruct", "score_samples", "transform"]
