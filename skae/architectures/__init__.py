"""Architectures build an encoder and a decoder; they depend on shapes, not on objectives."""

from skae.architectures._base import Architecture, PretrainingStage
from skae.architectures._conv import Conv
from skae.architectures._ft_transformer import FTTransformer
from skae.architectures._functions import FunctionArchitecture
from skae.architectures._layers import ACTIVATIONS, Dropout, UnitLinear
from skae.architectures._layout import TokenLayout
from skae.architectures._mlp import ACTIVATION, HIDDEN_LAYER_SIZES, MLP
from skae.architectures._token_architecture import TokenArchitecture
from skae.architectures._tokens import CellMap, Positions
from skae.architectures._transformer import without_fused_kernel
from skae.architectures._vit import ViT

__all__ = [
    "ACTIVATION",
    "ACTIVATIONS",
    "HIDDEN_LAYER_SIZES",
    "MLP",
    "Architecture",
    "CellMap",
    "Conv",
    "Dropout",
    "FTTransformer",
    "FunctionArchitecture",
    "Positions",
    "PretrainingStage",
    "TokenArchitecture",
    "TokenLayout",
    "UnitLinear",
    "ViT",
    "without_fused_kernel",
]
