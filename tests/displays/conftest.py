import matplotlib
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def figures():
    matplotlib.use("agg")
    yield
    plt.close("all")
