"""`dcn parity all`: what it plans, that it takes up where it was left, and what its table says."""

import json
import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from dcn_suite.cli.main import main
from dcn_suite.parity.memory import keeps_freed_memory, resident_bytes
from dcn_suite.parity.suite import PlannedRun, Results, planned_runs, results, run_all
from dcn_suite.parity.suite import plan as plan_of_all
from dcn_suite.parity.suite.page import MEMORY_LIMIT_GIB, all_hold, cells, markdown
from dcn_suite.parity.suite.run import environment
from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from dcn_tasks.network import RESNET, NetworkSpec

NARROW = PlannedRun("narrow@64x80", "DeepLab", "plain", "narrow", "demo/narrow_deeplab", "64x80", grad=False)
ENTRY = {
    "id": NARROW.id, "holds": True, "red": 0, "wall_s": 10.0, "cpu_s": 15.0, "peak_gib": 2.0,
    "summary": [
        {"name": "isolated", "held": 7, "count": 7, "strain": "0.5", "by_layer": 1},
        {"name": "chained", "held": 7, "count": 7, "strain": "0.5", "by_layer": 2},
    ],
    "worst_float64_disagreement": {"of_scale": 2e-14, "what": "isolated · conv1 · output"},
    "rows": [
        {"check": "detections", "node": "detections", "quantity": "boxes", "got": 0, "claim": ""},
        {"check": "detections", "node": "detections", "quantity": "scores", "got": 7e-6,
         "claim": "largest difference of the 300 scores"},
    ],
}  # fmt: skip


def test_every_system_is_planned_plain_and_deformable():
    found = {}
    for run in planned_runs():
        spec = NetworkSpec.from_config(load_config(run.config))
        assert load_config(run.config).network.BASE_WIDTH == 64, run.id
        deformable = bool(spec.deformable_convolutions)
        assert deformable == (run.variant != "plain"), run.id
        assert (run.backbone == "ResNet-101") == (spec.backbone == RESNET), run.id
        found.setdefault((spec.family, spec.backbone), set()).add((run.variant, run.size, run.grad, run.float64))
    both = {(variant, "600x1000", True, True) for variant in ("plain", "deformable")}
    assert found["rfcn", RESNET] == found["class_aware_rpn", RESNET] == both
    assert found["rcnn", RESNET] == both | {("DCNv2", "600x1000", True, True)}
    aligned = [runs for (_, backbone), runs in found.items() if backbone != RESNET]
    assert aligned == [both, both]
    for family, sizes in {
        "fpn": {("800x1280", False, True), ("480x800", True, True)},
        "deeplab": {("360x600", True, True), ("1024x2048", False, False)},
    }.items():
        assert found[family, RESNET] == {(variant, *size) for variant in ("plain", "deformable") for size in sizes}


def test_ids_are_chosen_whole_or_with_all_their_sizes():
    ids = {run.id for run in plan_of_all.chosen_runs(["fpn", "rfcn-dcn@600x1000"])}
    assert ids == {"fpn@800x1280", "fpn@480x800", "rfcn-dcn@600x1000"}
    with pytest.raises(InputError, match="got fnp"):
        plan_of_all.chosen_runs(["fnp"])


def test_options_of_one_run_do_not_go_with_all_and_the_other_way_round(capsys):
    assert main(["parity", "all", "--grad"]) == 2
    assert main(["parity", "demo/narrow_deeplab", "--fresh"]) == 2
    assert main(["parity", "demo/narrow_deeplab", "--float32", "--grad"]) == 2
    assert main(["parity", "demo/narrow_deeplab", "--steps", "2", "--size", "64x80"]) == 2
    said = capsys.readouterr().err
    assert said.count("leave out") == 3
    assert main(["parity", "demo/narrow_deeplab", "--seed", "-1"]) == 2
    assert "--seed: expected 0 or more, got -1" in capsys.readouterr().err


@pytest.mark.mxnet
def test_a_run_is_done_once_until_something_changes(tmp_path, monkeypatch):
    started = []

    def run(**options):
        started.clear()
        run_all(
            [NARROW], Results(tmp_path / "all.json"), started=lambda place, each: started.append(each.id), **options
        )
        return Results(tmp_path / "all.json").entries[NARROW.id]

    entry = run()
    assert started == [NARROW.id]
    assert entry["holds"], entry
    assert entry["judged"] > 100
    assert 0.1 < entry["peak_gib"] < 16
    assert cells(NARROW, entry)[5] == "holds"
    assert cells(NARROW, entry)[12].startswith("0 labels differ, of 5120 pixels")
    run()
    assert started == []
    monkeypatch.setattr(results, "code_digest", lambda: "other code")
    monkeypatch.setattr("dcn_suite.parity.suite.run.entry_of", lambda each, out: ENTRY)
    run()
    assert started == [NARROW.id]
    run(fresh=True)
    assert started == [NARROW.id]


def test_a_run_that_breaks_off_does_not_hold_and_is_tried_again(tmp_path):
    run = replace(NARROW, size="9999x9999")
    kept = Results(tmp_path / "all.json")
    run_all([run], kept)
    entry = kept.entries[run.id]
    assert not entry["holds"]
    assert "--size" in entry["error"]
    assert not kept.has(run)
    assert "broke off" in cells(run, entry)


def test_something_else_is_no_results_file(tmp_path):
    file = tmp_path / "all.json"
    for content in ("[]", "{", json.dumps({"format": 0, "runs": []}), "[" * 100_000):
        file.write_text(content)
        with pytest.raises(InputError, match=r"all\.json: expected results"):
            Results(file)


ENTRIES = {
    "an empty one": {"id": NARROW.id},
    "a text": "narrow@64x80",
    "one nested without end": ENTRY | {"load": json.loads("[" * 400 + "]" * 400)},
    "figures that JSON has not": ENTRY | {"load": [float("inf")]},
    "costs in words": ENTRY | {"wall_s": "10"},
    "a verdict in words": ENTRY | {"holds": "no"},
    "an error that holds": ENTRY | {"error": "broke off"},
    "an error that is no text": ENTRY | {"holds": False, "error": 3},
    "no summary": {name: value for name, value in ENTRY.items() if name != "summary"},
    "half a summary": ENTRY | {"summary": ENTRY["summary"][:1]},
    "a summary of texts": ENTRY | {"summary": ["isolated", "chained"]},
    "a strain in words": ENTRY | {"summary": [each | {"strain": "much"} for each in ENTRY["summary"]]},
    "a count in words": ENTRY | {"summary": [each | {"by_layer": "one"} for each in ENTRY["summary"]]},
    "no number of disagreement": ENTRY | {"worst_float64_disagreement": {"of_scale": None}},
    "rows of texts": ENTRY | {"rows": ["detections"]},
    "rows without a claim": ENTRY | {"rows": [{"check": "detections", "node": "", "quantity": "boxes", "got": 0}]},
    "rows that got a list": ENTRY | {"rows": [each | {"got": []} for each in ENTRY["rows"]]},
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_an_entry_that_no_run_has_written_is_no_result(tmp_path, entry):
    file = tmp_path / "all.json"
    file.write_text(json.dumps({"format": 1, "runs": [ENTRY | {"id": "another"}, entry]}))
    with pytest.raises(InputError, match=r"all\.json: expected results"):
        Results(file)
    file.write_text(json.dumps({"format": 1, "runs": [ENTRY | {"id": "another"}, ENTRY]}))
    assert Results(file).entries[NARROW.id] == ENTRY


def test_the_page_says_what_holds_and_what_was_not_run():
    page = markdown([NARROW, replace(NARROW, id="other")], {NARROW.id: ENTRY})
    assert "1 of 2 runs done, 1 hold" in page
    (done,) = [line for line in page.splitlines() if "300 boxes" in line]
    assert done.count("|") == page.splitlines()[page.splitlines().index(done) - 2].count("|")
    assert (
        "| holds | 7 of 7 | 7 of 7 | 0 | 3 | 2.00e-14 | 50 % | 300 boxes in both, 0 in one; scores to 7.00e-06 |"
        in done
    )
    assert page.count("not run") == 1


def test_all_hold_only_if_all_were_run_and_kept_to_their_memory():
    assert all_hold([NARROW], {NARROW.id: ENTRY})
    assert not all_hold([NARROW, replace(NARROW, id="other")], {NARROW.id: ENTRY})
    assert not all_hold([NARROW], {NARROW.id: ENTRY | {"peak_gib": MEMORY_LIMIT_GIB + 1}})
    assert not all_hold([NARROW], {NARROW.id: ENTRY | {"holds": False}})
    assert not all_hold([], {})


@pytest.mark.parametrize(("capability", "given", "expected"), [
    ("AVX512", None, "Haswell"), ("AVX2", "ZEN", "ZEN"), ("DEFAULT", None, None),
])  # fmt: skip
def test_mxnets_blas_is_told_of_the_processor_unless_the_user_told_it(monkeypatch, capability, given, expected):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "before")  # so that it is restored
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    if given:
        monkeypatch.setenv("OPENBLAS_CORETYPE", given)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert environment().get("OPENBLAS_CORETYPE") == expected


@pytest.mark.parametrize("loaded", [False, True])
def test_one_comparison_tells_mxnets_blas_before_mxnet_is_loaded(monkeypatch, capsys, loaded):
    def stop(*args, **kwargs):
        raise InputError(f"told {os.environ.get('OPENBLAS_CORETYPE')}")

    monkeypatch.setenv("OPENBLAS_CORETYPE", "before")  # so that it is restored
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr("dcn_suite.parity.run.run_parity", stop)
    modules = {"mxnet": None} if loaded else {}
    monkeypatch.setattr("dcn_suite.cli.parity.sys", SimpleNamespace(modules=modules, stderr=sys.stderr))
    assert main(["parity", "demo/narrow_rfcn", "--recording", "x"]) == 2
    assert ("told None" if loaded else "told Haswell") in capsys.readouterr().err


def test_freed_memory_is_kept_for_the_next_map_unless_the_user_has_other_wishes(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert "mmap_threshold" in environment()["GLIBC_TUNABLES"]
    assert keeps_freed_memory(environment()["GLIBC_TUNABLES"], 9 << 30)
    assert not keeps_freed_memory(environment()["GLIBC_TUNABLES"], 11 << 30)
    for other in ("", "glibc.malloc.trim_threshold=131072", "glibc.malloc.perturb=1"):
        assert not keeps_freed_memory(other, 0)
    assert 1 << 20 < resident_bytes() < 1 << 40
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.perturb=1")
    assert environment()["GLIBC_TUNABLES"] == "glibc.malloc.perturb=1"
