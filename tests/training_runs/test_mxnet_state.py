"""The state that MXNet's training goes on from comes back whole; one that lies is a sentence before MXNet sees it."""

import numpy as np
import pytest

from dcn_suite.training.start import starting_weights
from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from tests.convert.file_bytes import nd_list, row_sparse
from tests.training_runs.kills import TINY
from weights_convert import Params, Sparse, load_params, save_params

pytestmark = pytest.mark.mxnet
HUGE = Sparse("row_sparse", np.ones((1, 4), np.float32), np.zeros(1, np.int64), None, (2**40, 4))
ARRAY = "momentum:rfcn_bbox_bias"


@pytest.fixture(scope="module")
def cfg():
    return load_config("demo/narrow_rfcn_dcn", **TINY)


@pytest.fixture
def state(cfg, tmp_path):
    from mxnet_ref.checkpoint import save_state

    params, _ = starting_weights(cfg, 3, None, from_scratch=True)
    momentum = {name: value + 1 for name, value in params.arg.items() if not name.startswith("conv1")}
    return save_state(tmp_path / "last.params", params.arg, params.aux, momentum, 17)


def changed(path, **arrays) -> None:
    """The file with other arrays in it; None: without."""
    found = dict(load_params(path).items()) | arrays
    kept = {name: array for name, array in found.items() if array is not None}
    save_params(path, Params(kept, bare=frozenset(kept)))


def test_state_comes_back_bit_for_bit(cfg, state):
    from dcn_suite.training.in_mxnet import load_state, updates_of

    arg, aux, momentum, updates = load_state(state, cfg)
    assert updates == updates_of(state) == 17
    expected, _ = starting_weights(cfg, 3, None, from_scratch=True)
    for found, wanted in ((arg, expected.arg), (aux, expected.aux)):
        assert {name: value.tobytes() for name, value in found.items()} == {
            name: value.tobytes() for name, value in wanted.items()
        }
    assert momentum.keys() == {name for name in arg if not name.startswith("conv1")}
    assert all((momentum[name] == arg[name] + 1).all() for name in momentum)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({ARRAY: HUGE}, r"momentum:rfcn_bbox_bias: expected float32 \[72\], got a sparse array"),
        ({"foo:x": np.zeros(1, np.float32)}, "foo:x: expected the network's arrays alone"),
        ({"momentum:foo": np.zeros(1, np.float32)}, "momentum:foo: expected the network's arrays alone"),
        ({ARRAY: np.zeros(7, np.float32)}, r"expected float32 \[72\], got float32 \[7\]"),
        ({ARRAY: np.zeros(72)}, r"expected float32 \[72\], got float64 \[72\]"),
        ({"arg:rfcn_bbox_bias": np.full(72, np.nan, np.float32)}, "expected finite numbers"),
        ({"arg:rfcn_bbox_bias": None}, "lacks arg:rfcn_bbox_bias"),
        ({"updates": None}, "with one whole number, updates"),
        ({"updates": np.zeros(0, np.int64)}, "with one whole number, updates"),
        ({"updates": np.array([-1])}, "with one whole number, updates"),
        ({"updates": np.array([np.inf])}, "with one whole number, updates"),
    ],
)
def test_state_of_something_else_is_a_sentence_that_names_it(cfg, state, arrays, said):
    from dcn_suite.training.in_mxnet import load_state

    changed(state, **arrays)
    with pytest.raises(InputError, match=rf"last\.params: .*{said}"):
        load_state(state, cfg)


def test_sparse_array_whose_rows_lie_beyond_it_is_refused_by_both_readers(cfg, tmp_path):
    """MXNet itself writes such rows into memory that is not the array's."""
    from dcn_suite.training.in_mxnet import load_state
    from mxnet_ref.checkpoint import load_arrays

    path = tmp_path / "last.params"
    beyond = row_sparse(np.ones((1, 2), np.float32), np.array([10**9]), (4, 2), stored=(1, 2))
    path.write_bytes(nd_list([beyond], ["arg:rfcn_bbox_bias"]))
    with pytest.raises(InputError, match=r"last\.params"):
        load_state(path, cfg)
    with pytest.raises(InputError, match="arg:rfcn_bbox_bias: expected a dense array, got a row_sparse one"):
        load_arrays(path)


def test_momentum_of_no_parameter_is_refused_by_the_trainer():
    from mxnet_ref.trainer import check_parameters

    with pytest.raises(InputError, match="momentum of the network's parameters, got it of foo"):
        check_parameters(["a"], [], {"a": 0}, {}, {"a": 0, "foo": 0})
