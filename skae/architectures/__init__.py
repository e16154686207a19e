"""Architectures build an encoder and a decoder; they depend on shapes, not on objectives."""

from skae.architectures._base import Architecture, PretrainingStage
from skae.architectures._conv import Conv
from skae.architectures._functions import FunctionArchitecture
from skae.architectures._layers import ACTIVATIONS, Dropout, UnitLinear
from skae.architectures._mlp import ACTIVATION, HIDDEN_LAYER_SIZES, MLP

__all__ = [
    "ACTIVATION",
    "ACTIVATIONS",
    "HIDDEN_LAYER_SIZES",
    "MLP",
    "Architecture",
    "Conv",
    "Dropout",
    "FunctionArchitecture",
    "PretrainingStage",
    "UnitLinear",
]
