"""Recipes that build an encoder and a decoder; they know shapes, nothing of objectives."""

from skae.architectures._functions import FunctionArchitecture
from skae.architectures._mlp import MLP

__all__ = ["MLP", "FunctionArchitecture"]
