"""A training killed by SIGKILL at random moments ends, resumed, with the bits of one that nobody touched."""

import pytest

from tests.training_runs.kills import torment

FRAMEWORKS = ("torch", pytest.param("mxnet", marks=pytest.mark.mxnet))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_kill_changes_no_bit(framework, tmp_path):
    result = torment(framework, 1, tmp_path, seed=3)
    assert result.same, result.updates


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_ten_kills_change_no_bit(framework, tmp_path):
    result = torment(framework, 10, tmp_path, seed=0)
    assert result.same, result.updates
    assert len(set(result.updates)) > 3, "the kills should meet different states"
