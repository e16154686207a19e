"""Fitted estimators as ONNX models, which run without Python.

Importing this module registers converters for the autoencoders, the outlier detector and the
imputer with skl2onnx, if that is installed, so that it converts any pipeline with them.
"""

from contextlib import suppress

from skae.onnx._convert import to_onnx
from skae.onnx._converters import register

with suppress(ImportError):
    register()

__all__ = ["to_onnx"]
