from pathlib import Path

import pytest

from synthetic.parameters import Parameters
from synthetic.sample import make_sample


@pytest.fixture(scope="session")
def default_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default sample: 10,000 customers over two years to 2025-09-30."""
    root = tmp_path_factory.mktemp("default_sample")
    assert make_sample(Parameters(), root)
    return root


@pytest.fixture(scope="session")
def small_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 700 customers, to be read only."""
    root = tmp_path_factory.mktemp("small_sample")
    assert make_sample(Parameters(customers=700), root)
    return root
