"""What `save_params` writes comes back bit for bit, here and in MXNet, and a failing disk leaves nothing behind."""

import errno
import resource
import signal
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import weights_convert.save as save_module
from dcn_tasks.errors import InputError
from tests.convert import file_bytes as fb
from weights_convert import Params, Sparse, load_params, save_params
from weights_convert.arrays import same_bits

AWKWARD = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38], np.float32)
MXNET_2_TYPES = ("int16", "uint16", "uint32", "uint64")
TYPES = [name for name in fb.FLAGS if name != "bfloat16"]


def typed_params() -> Params:
    arg = {f"x_{name}": np.array([[0, 1], [1, 1]]).astype(name) for name in TYPES}
    arg["bits"] = AWKWARD
    arg["half"] = np.array([1.5, -2.5], ml_dtypes.bfloat16)
    return Params(arg=arg, aux={"bn_moving_mean": np.arange(3, dtype=np.float64)})


def sparse_params() -> Params:
    rows = Sparse("row_sparse", np.ones((2, 3), np.float32), np.array([0, 4]), None, (5, 3))
    columns = Sparse("csr", np.array([1, 2], np.float32), np.array([0, 2]), np.array([0, 1, 1, 2]), (3, 3))
    return Params(arg={"r": rows, "c": columns})


@pytest.mark.parametrize("params", [typed_params(), sparse_params(), Params(), Params(unnamed=[AWKWARD, AWKWARD[:1]])])
def test_saved_params_come_back_bit_for_bit(tmp_path, params):
    path = tmp_path / "deep" / "a.params"
    save_params(path, params)
    again = load_params(path)
    assert [name for name, _ in again.items()] == [name for name, _ in params.items()]
    for (_, one), (_, other) in zip(again.items(), params.items(), strict=True):
        assert same_bits(one, other)
    assert [p.name for p in path.parent.iterdir()] == ["a.params"]


@pytest.mark.parametrize(
    "array", [AWKWARD[::2], np.arange(6, dtype=np.float32).reshape(2, 3).T, np.arange(3, dtype=">f4")]
)
def test_strided_and_big_endian_arrays_keep_their_values(tmp_path, array):
    save_params(tmp_path / "a.params", Params(arg={"w": array}))
    np.testing.assert_array_equal(load_params(tmp_path / "a.params").arg["w"], array)


def test_big_endian_sparse_arrays_keep_their_values(tmp_path):
    params = sparse_params()
    for name, each in params.arg.items():
        indptr = None if each.indptr is None else each.indptr.astype(">i8")
        swapped = Sparse(each.kind, each.data.astype(">f4"), each.indices.astype(">i8"), indptr, each.shape)
        save_params(tmp_path / "a.params", Params(arg={name: swapped}))
        assert same_bits(load_params(tmp_path / "a.params").arg[name], each)


def test_bare_names_stay_bare(tmp_path):
    data = fb.nd_list([fb.v2(AWKWARD), fb.v2(AWKWARD)], ["features.0.weight", "arg:w"])
    (tmp_path / "a.params").write_bytes(data)
    save_params(tmp_path / "b.params", load_params(tmp_path / "a.params"))
    assert (tmp_path / "b.params").read_bytes() == data


def test_file_can_be_saved_over_itself_while_mapped(tmp_path):
    path = tmp_path / "a.params"
    path.write_bytes(fb.nd_list([fb.v0(AWKWARD)], ["arg:w"]))
    params = load_params(path)
    save_params(path, params)
    assert same_bits(load_params(path).arg["w"], params.arg["w"])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (Params(arg={"s": np.array(1.0)}), "reshape a scalar"),
        (Params(arg={"c": np.ones(1, np.complex64)}), "complex64"),
        (Params(arg={"o": np.array([None])}), "object"),
        (Params(arg={"w": AWKWARD}, unnamed=[AWKWARD]), "save the unnamed ones apart"),
    ],
)
def test_what_version_2_cannot_hold_is_refused_before_writing(tmp_path, params, words):
    with pytest.raises(InputError, match=words):
        save_params(tmp_path / "a.params", params)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.params"
    save_params(path, Params(arg={"old": AWKWARD}))
    before = path.read_bytes()

    def full(file, array):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(save_module, "write_values", full)
    with pytest.raises(OSError, match="No space left"):
        save_params(path, Params(arg={"new": AWKWARD}))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.params"]


def test_disk_that_changes_a_bit_is_noticed(tmp_path, monkeypatch):
    def flipped(file, array):
        data = bytearray(array.tobytes())
        data[0] ^= 1
        file.write(data)

    monkeypatch.setattr(save_module, "write_values", flipped)
    with pytest.raises(OSError, match="w did not come back"):
        save_params(tmp_path / "a.params", Params(arg={"w": AWKWARD}))
    assert list(tmp_path.iterdir()) == []


def test_real_write_past_the_size_limit_leaves_nothing(tmp_path):
    """The kernel itself refuses the write here (RLIMIT_FSIZE), in a process of its own."""
    script = (
        "import numpy, sys\n"
        "from weights_convert import Params, save_params\n"
        "try:\n"
        "    save_params(sys.argv[1], Params(arg={'w': numpy.ones(1 << 18, 'f4')}))\n"
        "except OSError as error:\n"
        "    sys.exit(0 if error.errno == 27 else 3)\n"
        "sys.exit(4)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.params")],
        preexec_fn=limit, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.mxnet
def test_mxnet_loads_what_we_save(tmp_path):
    mx = pytest.importorskip("mxnet")
    params = typed_params()
    for name in MXNET_2_TYPES:  # MXNet 1.9.1 has these four flags and refuses to load them
        del params.arg[f"x_{name}"]
    save_params(tmp_path / "a.params", params)
    live = mx.nd.load(str(tmp_path / "a.params"))
    assert set(live) == {name for name, _ in params.items()}
    for name, array in params.items():
        theirs = live[name].asnumpy()
        assert theirs.shape == array.shape and theirs.tobytes() == array.tobytes(), name


@pytest.mark.mxnet
def test_mxnet_loads_the_sparse_arrays_we_save(tmp_path):
    mx = pytest.importorskip("mxnet")
    params = sparse_params()
    save_params(tmp_path / "a.params", params)
    live = mx.nd.load(str(tmp_path / "a.params"))
    for name, sparse in params.items():
        assert live[name].stype == sparse.kind
        np.testing.assert_array_equal(live[name].asnumpy(), sparse.to_dense())


@pytest.mark.mxnet
def test_our_bytes_are_the_bytes_mxnet_writes(tmp_path):
    mx = pytest.importorskip("mxnet")
    arg = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "i": np.arange(3, dtype=np.int64)}
    save_params(tmp_path / "ours.params", Params(arg=arg, aux={"m": AWKWARD}))
    theirs = {name: mx.nd.zeros(array.shape, dtype=array.dtype) for name, array in Params(arg, {"m": AWKWARD}).items()}
    for name, array in Params(arg, {"m": AWKWARD}).items():
        theirs[name][:] = array
    mx.nd.save(str(tmp_path / "theirs.params"), theirs)
    assert (tmp_path / "ours.params").read_bytes() == (tmp_path / "theirs.params").read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    entries=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
        st.tuples(st.sampled_from(TYPES), st.lists(st.integers(0, 4), min_size=1, max_size=4), st.booleans()),
        max_size=4,
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_names_shapes_and_types_come_back(tmp_path, entries, seed):
    rng = np.random.default_rng(seed)
    params = Params()
    for name, (type_name, shape, is_aux) in entries.items():
        raw = rng.integers(0, 2, (*shape, np.dtype(type_name).itemsize), dtype=np.uint8)
        array = raw[..., 0].astype(bool) if type_name == "bool" else raw.view(type_name)[..., 0]
        (params.aux if is_aux else params.arg)[name] = array
    save_params(tmp_path / "a.params", params)
    again = load_params(tmp_path / "a.params")
    assert list(again.arg) == list(params.arg) and list(again.aux) == list(params.aux)
    for (name, one), (_, other) in zip(params.items(), again.items(), strict=True):
        assert same_bits(one, other), name
