"""Parity where MXNet cannot be imported, from the recording that ships."""

import json
import subprocess
import sys

import pytest

from dcn_suite.cli.main import main
from dcn_suite.parity.reference import Reference, head_gradients
from dcn_suite.parity.run import Settings, run_parity
from dcn_tasks.errors import InputError
from dcn_tasks.recording import Recording
from tests.parity.conftest import CONFIG, SHIPPED, SIZE

WITHOUT_MXNET = """
import sys
sys.modules["mxnet"] = None  # importing it raises ImportError
from dcn_suite.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_parity_holds_from_the_recording_with_mxnet_blocked(tmp_path):
    arguments = ["parity", CONFIG, "--grad", "--recording", str(SHIPPED), "--json", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MXNET, *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["holds"]
    assert result["red"] == 0
    assert result["reference"].startswith("MXNet 1.9.1")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert json.loads((tmp_path / "parity.json").read_text())["judged"] == result["judged"]


def test_the_shipped_recording_is_small():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 2_000_000


def test_a_recording_of_another_configuration_is_refused(capsys):
    assert main(["parity", "demo/narrow_rfcn_dcn", "--grad", "--recording", str(SHIPPED)]) == 2
    assert "recorded from demo/recorded_rfcn_dcn" in capsys.readouterr().err


def test_a_recording_with_gradients_wants_them():
    with pytest.raises(InputError, match="add --grad"):
        run_parity(CONFIG, Settings(SIZE), recording=SHIPPED)


def test_a_changed_recording_is_refused(tmp_path):
    for file in SHIPPED.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    part = sorted(tmp_path.glob("part-*.npz"))[0]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    with pytest.raises(InputError, match="changed since it was recorded"):
        run_parity(CONFIG, Settings(SIZE, grad=True), recording=tmp_path)


def test_head_gradients_depend_on_the_name_alone():
    reference = Reference(Recording(SHIPPED))
    output = reference.entry("train", "float32", "conv1")
    first, again, other = (head_gradients(name, [output])[0] for name in ("conv1", "conv1", "bn_conv1"))
    assert (first == again).all()
    assert (first != other).any()
    assert first.shape == output.shape


def test_size_is_checked(capsys):
    assert main(["parity", CONFIG, "--recording", str(SHIPPED), "--size", "40,56"]) == 2
    assert "HEIGHTxWIDTH" in capsys.readouterr().err
