"""Processes that share an update end where one process with all of its images ends; and both rules for their gradients."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tolerances import PROCESSES_SHARE_AN_UPDATE

from dcn_tasks.config import load_config
from dcn_tasks.recipe import gradient_scale, images_per_update
from tests.training_runs.kills import LAST, command, environment, finish, write_config
from weights_convert import load_params, load_weights
from weights_convert.tensors import to_array

STEPS = ("--steps", "20")
FRAMEWORKS = ("torch", pytest.param("mxnet", marks=pytest.mark.mxnet))
LAUNCHERS = {
    "torch": ("torch.distributed.run", "--standalone", "--nproc-per-node=2"),
    "mxnet": ("mxnet_ref.launch", "--workers", "2"),
}


def run_shared(config, framework: str, output, *options: str) -> subprocess.CompletedProcess[str]:
    """`dcn train` in two processes, started by the framework's launcher."""
    own = command(config, framework, output, *options)[1:]
    return subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[framework], *own],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def arrays(output, framework: str = "torch") -> dict[str, np.ndarray]:
    if framework == "mxnet":
        params = load_params(output / LAST[framework])
        return {name: np.asarray(value, np.float64) for name, value in {**params.arg, **params.aux}.items()}
    return {name: to_array(t).astype(np.float64) for name, t in load_weights(output / LAST["torch"]).state.items()}


def distance(one, other) -> float:
    """Largest over the arrays of |difference| / |value|, as vectors."""
    assert one.keys() == other.keys()
    norms = {name: np.linalg.norm(value) for name, value in other.items()}
    return max(np.linalg.norm(one[name] - other[name]) / norm for name, norm in norms.items() if norm)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("network", "rule"), [("demo/narrow_rfcn_dcn", "sum"), ("demo/narrow_fpn_dcn", "mean")])
def test_two_processes_are_one_with_the_doubled_batch(network, rule, framework, tmp_path):
    config = write_config(tmp_path, network=network)
    words = (*STEPS, "--images-per-update", "2")
    finish(config, framework, tmp_path / "one", *words)
    shared = run_shared(config, framework, tmp_path / "two", *words)
    assert shared.returncode == 0, shared.stderr[-2000:]
    assert json.loads(shared.stdout)["images_per_update"] == 2, "the first process speaks, the other is silent"
    one, two = arrays(tmp_path / "one", framework), arrays(tmp_path / "two", framework)
    assert distance(two, one) < PROCESSES_SHARE_AN_UPDATE
    assert gradient_scale(load_config(network), 2) == {"sum": 1, "mean": 0.5}[rule]


@pytest.mark.mxnet
def test_mxnets_kvstore_sums_what_pytorch_sums(tmp_path):
    """Three updates of two images from the same start: the same weights but for rounding."""
    config = write_config(tmp_path)
    for framework in ("torch", "mxnet"):
        finish(config, framework, tmp_path / framework, "--steps", "3", "--images-per-update", "2")
    theirs = arrays(tmp_path / "mxnet", "mxnet")
    theirs.pop("updates")
    names = {"weights": lambda name: "momentum:" not in name}
    ours = load_weights(tmp_path / "torch" / "model.safetensors")
    from weights_convert import to_mxnet

    params = to_mxnet(ours.tensors(), load_config(config))
    found = {name: np.asarray(value, np.float64) for name, value in {**params.arg, **params.aux}.items()}
    kept = [name for name in theirs if names["weights"](name)]
    assert distance({n: found[n] for n in kept}, {n: theirs[n] for n in kept}) < PROCESSES_SHARE_AN_UPDATE


def test_a_recipe_has_as_many_images_an_update_as_devices():
    cfg = load_config("rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem")
    assert (cfg.gpus, images_per_update(cfg)) == ("0,1,2,3", 4)
    assert images_per_update(load_config(cfg, gpus="")) == 1
    assert [gradient_scale(load_config(cfg, TRAIN__GRADIENT_RULE=rule), 4) for rule in ("", "sum", "mean")] == [
        1,
        1,
        0.25,
    ]
