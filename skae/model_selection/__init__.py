"""Search for hyperparameters, with the models of all candidates trained as one program."""

from skae.model_selection._search import BatchedGridSearchCV, BatchedRandomizedSearchCV

__all__ = ["BatchedGridSearchCV", "BatchedRandomizedSearchCV"]
