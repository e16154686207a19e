"""Recipes that build an encoder and a decoder; they know shapes, nothing of objectives."""

from skae.architectures._mlp import MLP
from skae.architectures._networks import Networks

__all__ = ["MLP", "Networks"]
