import matplotlib
import pytest


@pytest.fixture(autouse=True)
def no_window():
    """Draw without a window."""
    matplotlib.use("agg")
