"""`dcn inspect` and `dcn info` say what is there, as a table or as JSON."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dcn_suite.cli.inspect import statistics
from dcn_suite.cli.main import main
from weights_convert import Params, Sparse, save_params, save_weights

WEIGHT = np.array([[1, 2], [3, np.nan]], np.float32)


@pytest.fixture
def params_file(tmp_path):
    rows = Sparse("row_sparse", np.ones((1, 2), np.float32), np.array([3]), None, (5, 2))
    path = tmp_path / "net-0007.params"
    save_params(path, Params({"conv1_weight": WEIGHT, "rows": rows}, {"bn_moving_mean": np.array([True, False])}))
    return path


def run(arguments: list, capsys) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def test_params_as_json(params_file, capsys):
    result = json.loads(run(["inspect", params_file, "--json"], capsys))
    assert result["kind"] == "params" and result["count"] == 3 and result["elements"] == 4 + 10 + 2
    weight, rows, mean = result["arrays"]
    assert weight == {
        "name": "arg:conv1_weight", "shape": [2, 2], "dtype": "float32",
        "min": 1.0, "max": 3.0, "mean": 2.0, "not_finite": 1,
    }  # fmt: skip
    assert (rows["storage"], rows["stored"], rows["shape"]) == ("row_sparse", 1, [5, 2])
    assert mean["name"] == "aux:bn_moving_mean" and mean["dtype"] == "bool" and mean["mean"] == 0.5


def test_params_as_a_table(params_file, capsys):
    out = run(["inspect", params_file], capsys)
    assert "3 arrays, 16 elements" in out
    row = next(line for line in out.splitlines() if "conv1_weight" in line)
    assert "[2, 2]" in row and "float32" in row and "2 (1 not finite)" in row


def test_statistics_of_many_chunks_are_of_all(monkeypatch):
    monkeypatch.setattr("dcn_suite.cli.inspect.CHUNK", 3)
    assert statistics(np.arange(10, dtype=np.int64)) == {"min": 0.0, "max": 9.0, "mean": 4.5, "not_finite": 0}
    assert statistics(np.array([np.inf])) == {"min": None, "max": None, "mean": None, "not_finite": 1}
    assert statistics(np.empty(0))["min"] is None


def test_symbol_as_json_and_table(tmp_path, capsys):
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": "Activation", "name": "relu", "attrs": {"act_type": "relu"}, "inputs": [[0, 0, 0]]},
    ]
    path = tmp_path / "net-symbol.json"
    path.write_text(json.dumps({"nodes": nodes, "heads": [[1, 0, 0]], "attrs": {"mxnet_version": ["int", 10901]}}))
    result = json.loads(run(["inspect", path, "--json"], capsys))
    assert result["operators"] == {"Activation": 1} and result["outputs"] == ["relu[0]"]
    assert result["mxnet_version"] == "1.9.1" and result["variables"] == 1
    assert "Activation" in run(["inspect", path], capsys)


def test_safetensors_shows_its_origin(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    save_weights(path, {"a": torch.ones(2, dtype=torch.bfloat16)}, {"source": "net-0007.params"})
    result = json.loads(run(["inspect", path, "--json"], capsys))
    assert result["arrays"][0]["dtype"] == "bfloat16" and result["metadata"]["source"] == "net-0007.params"
    assert "source: net-0007.params" in run(["inspect", path], capsys)


def test_foreign_file_is_a_sentence(tmp_path, capsys):
    (tmp_path / "x").write_bytes(b"\x80\x02}q\x00.")
    assert main(["inspect", str(tmp_path / "x")]) == 2
    assert "never loaded" in capsys.readouterr().err


def test_float8_is_a_sentence(tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(2).to(torch.float8_e4m3fn)}, path)
    assert main(["inspect", str(path)]) == 2
    assert "model.safetensors: a: expected a type and a shape that NumPy has" in capsys.readouterr().err


def test_info_says_what_is_installed(capsys):
    facts = json.loads(run(["info", "--json"], capsys))
    assert facts["numpy"] == np.__version__ and facts["torch"] == torch.__version__
    assert {"python", "CPU kernels", "CUDA in torch", "_dcn_cuda.so", "mxnet", "mxnet importable"} <= set(facts)
    assert "CPU kernels" in run(["info"], capsys)
