"""`dcn convert` there and back is bitwise, says what it did, and leaves nothing behind when it fails."""

import errno
import hashlib
import importlib.util
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dcn_suite.cli import convert as convert_command
from dcn_suite.cli.main import main
from dcn_tasks.config import dump, load_config, to_plain
from tests.convert.checkpoints import NARROW, made_up, narrow
from weights_convert import Params, Sparse, load_params, load_symbol, load_weights, save_params, save_weights
from weights_convert.arrays import same_bits

CONFIG = NARROW["deformable"]


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "narrow-0007.params"
    save_params(path, made_up(narrow()))
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def convert(checkpoint, out, *more) -> int:
    return main(["convert", str(checkpoint), "--config", CONFIG, "-o", str(out), *more])


@pytest.fixture
def without_mxnet(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "mxnet" else find(name, *a))


def test_folder_holds_weights_config_and_parity(checkpoint, tmp_path, capsys):
    assert convert(checkpoint, tmp_path / "new" / "out") == 0
    out = tmp_path / "new" / "out"
    assert names_in(out) == ["config.yaml", "model.safetensors", "parity.json"]
    assert json.loads((out / "parity.json").read_text()) == {
        "verdict": "not verified",
        "why": "--verify was not given",
    }
    assert to_plain(load_config(out / "config.yaml")) == to_plain(narrow())
    metadata = load_weights(out / "model.safetensors").metadata
    assert metadata["source"] == checkpoint.name
    assert metadata["source_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert json.loads(metadata["config"]) == to_plain(narrow())
    assert {"torch", "numpy", "safetensors"} <= set(json.loads(metadata["packages"])) and metadata["rules_version"]
    assert "not verified" in capsys.readouterr().out


def test_there_and_back_gives_the_same_arrays(checkpoint, tmp_path, without_mxnet, capsys):
    assert convert(checkpoint, tmp_path / "out") == 0
    assert main(["convert", str(tmp_path / "out"), "--to", "mxnet", "-o", str(tmp_path / "back" / "net")]) == 0
    assert names_in(tmp_path / "back") == ["net-0000.params"]
    assert "net-symbol.json is not written: MXNet" in capsys.readouterr().err
    before, after = (dict(load_params(path).items()) for path in (checkpoint, tmp_path / "back" / "net-0000.params"))
    assert before.keys() == after.keys()
    assert all(same_bits(before[name], after[name]) for name in before)


def test_json_goes_to_stdout_alone(checkpoint, tmp_path, capsys):
    assert convert(checkpoint, tmp_path / "out", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["parity"]["verdict"] == "not verified" and result["normalised copies for training"] == 2


def test_verify_without_mxnet_says_not_verified(checkpoint, tmp_path, without_mxnet, capsys):
    assert convert(checkpoint, tmp_path / "out", "--verify") == 1
    assert "not verified: MXNet is not installed" in capsys.readouterr().err
    parity = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert parity["verdict"] == "not verified" and "MXNet is not installed" in parity["why"]


@pytest.mark.parametrize(("verdict", "code"), [("holds", 0), ("does not hold", 1), ("not verified", 1)])
def test_exit_code_is_the_verdict(checkpoint, tmp_path, monkeypatch, verdict, code):
    monkeypatch.setattr(convert_command, "verified", lambda *args: {"verdict": verdict, "why": "so"})
    assert convert(checkpoint, tmp_path / "out", "--verify") == code
    assert json.loads((tmp_path / "out" / "parity.json").read_text())["verdict"] == verdict


def test_second_run_replaces_the_first_and_keeps_other_files(checkpoint, tmp_path):
    out = tmp_path / "out"
    assert convert(checkpoint, out) == 0
    (out / "mine.txt").write_text("keep")
    (out / "parity.json").write_text("old")
    assert convert(checkpoint, out) == 0
    assert names_in(out) == ["config.yaml", "mine.txt", "model.safetensors", "parity.json"]
    assert (out / "parity.json").read_text() != "old"


# --- failures ------------------------------------------------------------------------------------------------------


def failed(capsys, checkpoint, out, *words, config=CONFIG) -> None:
    before = names_in(checkpoint.parent)
    assert main(["convert", str(checkpoint), "--config", str(config), "-o", str(out)]) == 2
    captured = capsys.readouterr()
    for word in words:
        assert word in captured.err
    assert "Traceback" not in captured.err and captured.out == ""
    assert names_in(checkpoint.parent) == before


def test_checkpoint_of_other_classes_is_named_and_nothing_written(checkpoint, tmp_path, capsys):
    config = tmp_path / "more_classes.yaml"
    config.write_text(dump(load_config(CONFIG, dataset__NUM_CLASSES=9)))
    failed(
        capsys, checkpoint, tmp_path / "out",
        "rfcn_cls_weight: file has", "classes there, 9 here", f"the file fits: --config {CONFIG}", config=config,
    )  # fmt: skip


def test_truncated_checkpoint_is_named_and_nothing_written(checkpoint, tmp_path, capsys):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    failed(capsys, checkpoint, tmp_path / "out", str(checkpoint), "truncated")


def test_unknown_config_is_named(checkpoint, tmp_path, capsys):
    failed(capsys, checkpoint, tmp_path / "out", "demo/narrow_rfcnn", config="demo/narrow_rfcnn")


def test_config_is_asked_for(checkpoint, tmp_path, capsys):
    assert main(["convert", str(checkpoint), "-o", str(tmp_path / "out")]) == 2
    assert f"it fits: {CONFIG}" in capsys.readouterr().err


def test_out_that_is_a_file_is_refused(checkpoint, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    failed(capsys, checkpoint, tmp_path / "out", "a folder is needed")
    assert (tmp_path / "out").read_text() == "mine"


def test_way_back_wants_a_converted_folder(checkpoint, tmp_path, capsys):
    assert main(["convert", str(checkpoint), "--to", "mxnet", "-o", str(tmp_path / "x")]) == 2
    assert "got no folder" in capsys.readouterr().err
    assert main(["convert", str(tmp_path), "--to", "mxnet", "-o", str(tmp_path / "x")]) == 2
    assert "model.safetensors: no such file" in capsys.readouterr().err


def test_way_back_refuses_notes_that_are_no_list(checkpoint, tmp_path, capsys):
    assert convert(checkpoint, tmp_path / "out") == 0
    file = tmp_path / "out" / "model.safetensors"
    save_weights(file, load_weights(file).tensors(), {"notes": "{"})
    assert main(["convert", str(tmp_path / "out"), "--to", "mxnet", "-o", str(tmp_path / "back")]) == 2
    assert "model.safetensors: expected a JSON list of texts as notes" in capsys.readouterr().err


def test_way_back_of_a_graph_refuses_states_that_are_no_list(tmp_path, capsys):
    nodes = [{"op": "null", "name": "data", "inputs": []}]
    nodes.append({"op": "Activation", "name": "relu", "attrs": {"act_type": "relu"}, "inputs": [[0, 0, 0]]})
    (tmp_path / "model-symbol.json").write_text(json.dumps({"nodes": nodes, "heads": [[1, 0, 0]]}))
    save_weights(tmp_path / "model.safetensors", {"a": np.zeros(1, np.float32)}, {"aux": "{"})
    assert main(["convert", str(tmp_path), "--to", "mxnet", "-o", str(tmp_path / "back")]) == 2
    assert "model.safetensors: expected a JSON list of texts as aux" in capsys.readouterr().err


@pytest.mark.mxnet
def test_proof_never_makes_dense_what_the_conversion_left_out(tmp_path, monkeypatch):
    """A few bytes of the ImageNet classifier's name that stand for 4 TiB."""
    from dcn_suite import parity

    given = made_up(narrow())
    huge = Sparse("row_sparse", np.zeros((0, 1), np.float32), np.zeros(0, np.int64), None, (2**40, 1))
    path = tmp_path / "net.params"
    save_params(path, Params(given.arg | {"fc1000_weight": huge}, given.aux))
    seen = []
    monkeypatch.setattr(parity, "verify", lambda params, *args, **more: seen.append(params) or {"verdict": "holds"})
    assert convert(path, tmp_path / "out", "--verify") == 0
    assert seen[0].arg.keys() == given.arg.keys() and seen[0].aux.keys() == given.aux.keys()


@pytest.mark.parametrize("existing", [False, True])
def test_full_disk_at_the_last_file_leaves_nothing_new(checkpoint, tmp_path, capsys, monkeypatch, existing):
    out = tmp_path / "deep" / "out"
    if existing:
        assert convert(checkpoint, out) == 0
        before = {path.name: path.read_bytes() for path in out.iterdir()}
    write = Path.write_text

    def full(self, text, **more):
        if self.name == "parity.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, text, **more)

    capsys.readouterr()
    monkeypatch.setattr(Path, "write_text", full)
    assert convert(checkpoint, out) == 2
    assert "No space left on device" in capsys.readouterr().err
    if existing:
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    else:
        assert not (tmp_path / "deep").exists()


def test_interruption_leaves_nothing(checkpoint, tmp_path, monkeypatch, capsys):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert_command, "save_weights", stop)
    assert convert(checkpoint, tmp_path / "out") == 130
    assert not (tmp_path / "out").exists() and "interrupted" in capsys.readouterr().err


def test_real_write_past_the_size_limit_leaves_nothing(checkpoint, tmp_path):
    """The kernel refuses the write (RLIMIT_FSIZE): one sentence, exit 2, no folder."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, 1 << 14))

    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "dcn_suite.cli.main",
        "convert",
        str(checkpoint),
        "--config",
        CONFIG,
        "-o",
        str(out),
    ]
    root = Path(convert_command.__file__).parents[2]
    done = subprocess.run(command, preexec_fn=limit, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr and "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.mxnet
def test_way_back_gives_mxnet_a_graph_and_all_its_arrays(checkpoint, tmp_path):
    mx = pytest.importorskip("mxnet")
    assert convert(checkpoint, tmp_path / "out") == 0
    prefix = tmp_path / "back" / "net"
    assert main(["convert", str(tmp_path / "out"), "--to", "mxnet", "-o", str(prefix)]) == 0
    assert names_in(tmp_path / "back") == ["net-0000.params", "net-symbol.json"]
    symbol, arg, aux = mx.model.load_checkpoint(str(prefix), 0)
    assert set(symbol.list_arguments()) - set(arg) == {"data", "im_info"}
    assert set(symbol.list_auxiliary_states()) == set(aux)
    assert {"rfcn_bbox_weight_test", "rfcn_bbox_bias_test"} == set(arg) - set(symbol.list_arguments())
    assert load_symbol(tmp_path / "back" / "net-symbol.json").op_counts()["Convolution"] > 10


@pytest.mark.mxnet
@pytest.mark.parametrize("kind", NARROW)
def test_checkpoint_from_mxnet_to_pytorch_to_mxnet_is_bitwise_for_mxnet_itself(tmp_path, kind):
    mx = pytest.importorskip("mxnet")
    before = {}
    for name, array in made_up(narrow(kind)).items():
        before[name] = mx.nd.zeros(array.shape)
        before[name][:] = array
    mx.nd.save(str(tmp_path / "net-0007.params"), before)
    command = ["convert", str(tmp_path / "net-0007.params"), "--config", NARROW[kind], "-o", str(tmp_path / "out")]
    assert main(command) == 0
    assert main(["convert", str(tmp_path / "out"), "--to", "mxnet", "-o", str(tmp_path / "back")]) == 0
    after = mx.nd.load(str(tmp_path / "back-0000.params"))
    assert set(after) == set(before)
    for name, array in before.items():
        assert after[name].asnumpy().tobytes() == array.asnumpy().tobytes(), name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--emit-python",), "go with --symbol"),
        (("--input", "data=1,3,8,8"), "go with --symbol"),
        (("--symbol", "net-symbol.json"), "expected one of them, got both"),
    ],
)
def test_options_of_another_way_are_refused(checkpoint, tmp_path, capsys, options, said):
    assert convert(checkpoint, tmp_path / "out", *options) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()
