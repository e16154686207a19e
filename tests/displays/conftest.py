import matplotlib
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def figures():
    """Draw without a window, and close all figures."""
    matplotlib.use("agg")
    yield
    plt.close("all")
