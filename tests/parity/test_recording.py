"""Parity where MXNet cannot be imported, from the recording that ships."""

import json
import subprocess
import sys

import numpy as np
import pytest

from dcn_suite.cli.main import main
from dcn_suite.parity.reference import Reference, head_gradients
from dcn_suite.parity.run import Settings, config_of, run_parity
from dcn_tasks.errors import InputError
from dcn_tasks.recording import Recording, RecordingWriter
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


ABOUT = json.loads((SHIPPED / "manifest.json").read_text())["about"]
NODE = ABOUT["graphs"]["train"][0]
OTHER_FACTS = [  # changes of what a recording is about, and what is said of it
    *(
        ({name: None}, f"`{name}` is no ")
        for name in ("name", "config", "seed", "isolated", "grad", "versions", "graphs")
    ),
    ({"float64": "no"}, "`float64` is no bool"),
    ({"seed": -1}, "`seed` is below 0"),
    ({"size": [1, 1]}, "32 to 4096 pixels"),
    ({"size": [40.0, 56]}, "32 to 4096 pixels"),
    ({"size": [40]}, "32 to 4096 pixels"),
    ({"config": {}}, "`config` has no SCALES"),
    ({"config": {"SCALES": [[10**9, 10**9]]}}, "`config` has no SCALES"),
    ({"versions": {"mxnet": []}}, "`versions` or"),
    ({"test_inputs": [{}]}, "or `test_inputs`"),
    ({"graphs": {"train": {}}}, "no nodes for train"),
    ({"graphs": {"train": [NODE, "conv1"]}}, "no nodes for train"),
    ({"graphs": {"train": [{"name": "conv1"}]}}, "no nodes for train"),
    ({"graphs": {"train": [NODE | {"attrs": {"kernel": 7}}]}}, "no nodes for train"),
]


def recorded(folder, about, arrays=None):
    writer = RecordingWriter(folder, "MXNet 1.9.1", about)
    writer.part("part-0000", arrays or {})
    writer.finish()
    return Recording(folder)


@pytest.mark.parametrize(("change", "said"), OTHER_FACTS)
def test_a_recording_about_something_else_is_a_sentence(change, said, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path.name}: expected a recording made by `dcn parity.*{said}"):
        Reference(recorded(tmp_path, ABOUT | change))


@pytest.mark.parametrize("lacking", ["graphs", "config", "seed", "size", "isolated", "grad", "name", "versions"])
def test_a_recording_that_lacks_a_fact_is_a_sentence(lacking, tmp_path):
    about = {name: value for name, value in ABOUT.items() if name != lacking}
    with pytest.raises(InputError, match=f"`{lacking}` is missing"):
        Reference(recorded(tmp_path, about))


def test_a_recorded_configuration_nested_without_end_is_a_sentence(tmp_path):
    reference = Reference(recorded(tmp_path, ABOUT))
    nested = []
    for _ in range(5000):
        nested = [nested]
    reference.about["config"]["network"]["ANCHOR_RATIOS"] = nested
    with pytest.raises(InputError, match=f"{tmp_path.name}: the recorded configuration is nested too deeply"):
        config_of(reference, CONFIG, Settings(SIZE, grad=True))


@pytest.mark.parametrize("lacking", ["attrs", "outputs"])
def test_graphs_whose_nodes_were_emptied_are_a_sentence(lacking, tmp_path):
    for file in SHIPPED.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for node in manifest["about"]["graphs"]["train"]:
        node[lacking].clear()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"{tmp_path.name}: expected graphs that the network"):
        run_parity(CONFIG, Settings(SIZE, grad=True), recording=tmp_path)


@pytest.mark.parametrize(
    "photo", [np.zeros((4, 100_000, 3), np.uint8), np.zeros((40, 56), np.uint8), np.zeros((40, 56, 3))]
)
def test_a_photo_that_is_none_is_a_sentence(photo, tmp_path):
    with pytest.raises(InputError, match=r"expected a photo of uint8 \[H, W, 3\]"):
        _ = Reference(recorded(tmp_path, ABOUT, {"photo": photo})).photo


def test_parameters_of_no_kind_are_a_sentence(tmp_path):
    with pytest.raises(InputError, match="expected parameters arg:NAME and aux:NAME, got 'conv1_weight'"):
        Reference(recorded(tmp_path, ABOUT, {"parameters/conv1_weight": np.zeros(3)})).parameters()


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
