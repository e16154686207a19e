import pytest

from skae.impute import AutoencoderImputer


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        budget = AutoencoderImputer._budget._replace(n_network_steps=60)
        patch.setattr(AutoencoderImputer, "_budget", budget)
        yield
