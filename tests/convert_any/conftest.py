"""The small network that the tests of converted modules share."""

import numpy as np
import pytest
import torch

from tests.convert_any.small_graph import small_graph, small_params
from weights_convert import convert


@pytest.fixture
def module():
    """A converted small network."""
    return convert(small_graph(), small_params())


@pytest.fixture
def data():
    """A batch for it."""
    return torch.from_numpy(np.random.default_rng(1).standard_normal((3, 4, 6, 5), dtype=np.float32))
