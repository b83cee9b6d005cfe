"""A folder holds one training: claimed once, resumed by the same recipe alone, rid of halves."""

import json
import re

import pytest

from dcn_tasks.config import dump, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.run_folder import RunFolder
from dcn_tasks.training_log import METRICS, TEXT, TrainingLog, read_rows

FACTS = {"framework": "torch", "seed": 3, "versions": {"torch": "2.13"}, "threads": "1"}


@pytest.fixture
def cfg():
    return load_config("demo/narrow_rfcn_dcn")


def begun(tmp_path, cfg) -> RunFolder:
    folder = RunFolder(tmp_path / "run", "net")
    folder.begin(cfg, FACTS, resume=False)
    (folder.path / METRICS).touch()
    return folder


@pytest.mark.parametrize("resume", [True, False])
def test_a_start_that_was_refused_may_be_put_right(tmp_path, cfg, resume):
    folder = RunFolder(tmp_path / "run", "net")
    folder.begin(cfg, FACTS, resume=False)
    folder.begin(load_config(cfg, TRAIN__lr=0.5), {**FACTS, "seed": 4}, resume=resume)
    assert folder.facts()["seed"] == 4 and load_config(folder.path / "config.yaml").TRAIN.lr == 0.5


def test_a_folder_with_a_training_is_not_begun_again(tmp_path, cfg):
    folder = begun(tmp_path, cfg)
    with pytest.raises(InputError, match="holds a training already: add --resume"):
        folder.begin(cfg, FACTS, resume=False)
    assert folder.begin(cfg, FACTS, resume=True)["seed"] == 3


def test_resume_begins_where_there_is_nothing(tmp_path, cfg):
    folder = RunFolder(tmp_path / "run", "net")
    folder.begin(cfg, FACTS, resume=True)
    assert not folder.begun and dump(load_config(tmp_path / "run" / "config.yaml")) == dump(cfg)


@pytest.mark.parametrize(
    ("facts", "change", "said"),
    [
        ({"seed": 4}, {}, "seed was 3 and is 4"),
        ({}, {"TRAIN__lr": 0.5}, r"TRAIN\.lr was 0\.02 and is 0\.5"),
        ({"framework": "mxnet"}, {}, "framework was 'torch' and is 'mxnet'"),
    ],
)
def test_another_recipe_does_not_go_on(tmp_path, cfg, facts, change, said):
    folder = begun(tmp_path, cfg)
    with pytest.raises(InputError, match=said):
        folder.begin(load_config(cfg, **change), {**FACTS, **facts}, resume=True)


def test_a_longer_training_and_other_versions_go_on(tmp_path, cfg):
    folder = begun(tmp_path, cfg)
    folder.begin(load_config(cfg, TRAIN__end_epoch=9), {**FACTS, "versions": {}, "threads": "2"}, resume=True)


def test_halves_of_killed_writes_are_removed_and_nothing_else(tmp_path, cfg):
    folder = begun(tmp_path, cfg)
    for name in (".last-ab3_d9x2.safetensors", ".net-0001.states-abcdefgh.params"):
        (folder.path / name).write_bytes(b"half")
    (folder.path / "net-0001.params").write_bytes(b"whole")
    folder.begin(cfg, FACTS, resume=True)
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "config.yaml",
        METRICS,
        "net-0001.params",
        "run.json",
    ]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="expected a folder"), RunFolder(tmp_path / "run", "net").alone():
        pass


def test_two_processes_do_not_train_in_one_folder(tmp_path, cfg):
    folder = begun(tmp_path, cfg)
    before = sorted(folder.path.iterdir())
    other = RunFolder(folder.path, "net")
    with folder.alone(), pytest.raises(InputError, match="another process trains in this folder now"), other.alone():
        pass
    with folder.alone():
        pass
    assert sorted(folder.path.iterdir()) == before


def log_of(folder, done=0) -> TrainingLog:
    return TrainingLog("t", done=done, last=6, epoch_length=3, every=2, shown=("loss",), folder=folder, progress=False)


def test_rows_hold_the_means_since_the_row_before(tmp_path):
    with log_of(tmp_path) as log:
        for number in range(1, 7):
            log.update(number, 0.1 * number, {"loss": float(number), "acc": 1.0})
    rows = read_rows(tmp_path / METRICS)
    assert [(row["update"], row["loss"], row["acc"]) for row in rows] == [(2, 1.5, 1), (4, 3.5, 1), (6, 5.5, 1)]
    lines = (tmp_path / TEXT).read_text(encoding="utf-8").splitlines()
    assert "epoch 2  update 4 of 6  loss 3.5000  lr 0.4" in lines[2] and "acc" not in lines[2]


def test_a_resumed_log_forgets_rows_of_updates_that_are_done_again(tmp_path):
    with log_of(tmp_path) as log:
        for number in range(1, 5):
            log.update(number, 0.1, {"loss": 9.0})
    with open(tmp_path / METRICS, "a", encoding="utf-8") as file:
        file.write('{"update": 6, "lo')
    with log_of(tmp_path, done=3) as log:
        for number in range(4, 7):
            log.update(number, 0.1, {"loss": 1.0})
    assert [(row["update"], row["loss"]) for row in read_rows(tmp_path / METRICS)] == [(2, 9), (4, 1), (6, 1)]


def test_tensorboard_gets_every_metric(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    with log_of(tmp_path) as log:
        for number in (1, 2):
            log.update(number, 0.5, {"loss": 2.0, "acc": 1.0})
    (file,) = (tmp_path / "tensorboard").iterdir()
    data, found = file.read_bytes(), {}
    while data:  # records: length, its checksum, an Event, its checksum
        length = int.from_bytes(data[:8], "little")
        for value in Event.FromString(data[12 : 12 + length]).summary.value:
            found[value.tag] = value.simple_value
        data = data[16 + length :]
    assert (found["loss"], found["acc"], found["lr"]) == (2, 1, 0.5)


def test_a_stop_is_noted_with_its_reason(tmp_path):
    with pytest.raises(ValueError), log_of(tmp_path) as log:
        log.update(1, 0.1, {"loss": 1.0})
        raise ValueError("the disk is full")
    assert "stopped after update 1: the disk is full" in (tmp_path / TEXT).read_text(encoding="utf-8")


def test_facts_are_plain_json(tmp_path, cfg):
    folder = begun(tmp_path, cfg)
    assert json.loads((folder.path / "run.json").read_text(encoding="utf-8")) == FACTS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", "[]"),
        ("run.json", "{"),
        ("run.json", "[" * 5000),
        ("run.json", '{"warmup_from": "x"}'),
        ("config.yaml", "a: &a [1]\nb: [*a, *a]\n"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path, cfg, name, content):
    folder = begun(tmp_path, cfg)
    (folder.path / name).write_text(content)
    with pytest.raises(InputError, match=re.escape(str(folder.path / name))):
        folder.begin(cfg, FACTS, resume=True)


@pytest.mark.parametrize("line", ["{}", "x", "3", "[" * 5000])
def test_rows_of_another_kind_are_named(tmp_path, line):
    (tmp_path / METRICS).write_text(f"{line}\n")
    with pytest.raises(InputError, match="expected rows as `dcn train` writes them"):
        read_rows(tmp_path / METRICS)
