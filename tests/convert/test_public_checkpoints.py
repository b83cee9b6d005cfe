"""Real files of 2015 to 2020: all load, and hold what MXNet itself loads from them."""

import json

import numpy as np
import pytest

from weights_convert import load_params, save_params
from weights_convert.arrays import same_bits

SUFFIXES = (".params", ".nd", ".v0", ".npz")
ONLY_MXNET_2 = {"net.params", "net-0000.params", "multi.npz", "sp.npz", "single"}  # ZIP and NPY: MXNet 1.9.1 refuses


def parameter_files(folder):
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in SUFFIXES and p.name != "io.npz"]
    return [*files, folder / "mxnet2_formats" / "single"]


def test_all_public_checkpoints_load_and_survive_a_round_trip(checkpoints_folder, tmp_path):
    files = parameter_files(checkpoints_folder)
    assert len(files) >= 45
    for path in files:
        params = load_params(path)
        assert len(params) > 0, path
        if any(not array.shape for _, array in params.items()):
            continue  # a 0-dimensional array has no place in version 2: refused, tested elsewhere
        save_params(tmp_path / "again.params", params)
        again = load_params(tmp_path / "again.params")
        for (name, one), (other_name, other) in zip(params.items(), again.items(), strict=True):
            assert name == other_name and same_bits(one, other), (path, name)


@pytest.mark.mxnet
def test_public_checkpoints_hold_what_mxnet_loads(checkpoints_folder):
    mx = pytest.importorskip("mxnet")
    compared = 0
    for path in parameter_files(checkpoints_folder):
        if path.name in ONLY_MXNET_2:
            continue
        try:
            live = mx.nd.load(str(path))
        except mx.base.MXNetError:  # version 3: only in NumPy's shape semantics
            with mx.util.np_shape(True):
                live = mx.nd.load(str(path))
        live = live if isinstance(live, dict) else {f"[{place}]": array for place, array in enumerate(live)}
        ours = dict(load_params(path).items())
        assert set(ours) == set(live), path
        for name, array in live.items():
            compare(ours[name], array, f"{path}: {name}")
        compared += 1
    assert compared >= 40


def compare(ours, live, where):
    if live.stype != "default":
        assert (ours.kind, ours.shape) == (live.stype, live.shape), where
        assert same_bits(ours.data, live.data.asnumpy()), where
        np.testing.assert_array_equal(ours.indices, live.indices.asnumpy())
        np.testing.assert_array_equal(ours.to_dense(), live.asnumpy())
        return
    theirs = live.asnumpy()
    if theirs.dtype.names:  # MXNet hands bfloat16 out as a structure of one uint16
        ours, theirs = ours.view(np.uint16), theirs.view(np.uint16)
    assert same_bits(np.asarray(ours), theirs), where


def test_exports_of_mxnet_2_give_its_own_outputs_names(checkpoints_folder):
    folder = checkpoints_folder / "mxnet2_formats"
    exported, saved = load_params(folder / "net-0000.params"), load_params(folder / "net.params")
    graph = json.loads((folder / "net-symbol.json").read_text())
    variables = {node["name"] for node in graph["nodes"] if node["op"] == "null"}
    assert set(exported.arg) | set(exported.aux) <= variables
    assert set(exported.arg) | set(exported.aux) == set(saved.arg)
