"""Times one training update in PyTorch and in MXNet 1.9.1, same network, weights, image and number of threads, taking turns.

    OMP_NUM_THREADS=2 python benchmarks/training_step_cpu.py CONFIG --size 300x500 --json benchmarks/results/training_step_cpu.json

An update is forward, backward and optimiser, with proposals and sampling. Reported: the fastest and the median of each, and
MXNet's time over PyTorch's; a result for the same configuration, size, threads and machine replaces the one in the file.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dcn_suite.reproduce.results import machine
from dcn_suite.training.start import starting_weights
from dcn_tasks.config import Config, load_config
from dcn_tasks.files import atomic_path
from dcn_tasks.recipe import schedule_of
from dcn_tasks.scenes import SceneSource
from dcn_tasks.streams import Draws
from dcn_tasks.task import task_of
from dcn_tasks.training_loop import Image
from mxnet_ref.trainer import Trainer
from torch_port.models import build_network
from torch_port.training import training_for
from weights_convert import Params, to_torch

BRANCH_SCALE = 0.1  # of residual branches: activations of a hundred random units stay finite
GOALS = {False: 1.0, True: 2.0}  # MXNet's time over PyTorch's, plain and deformable


def quiet_start(cfg: Config) -> Params:
    """Random weights whose activations neither vanish nor overflow."""
    params, _ = starting_weights(cfg, 0, None, from_scratch=True)
    scaled = {name: value * BRANCH_SCALE for name, value in params.arg.items() if name.endswith("branch2c_gamma")}
    return Params({**params.arg, **scaled}, params.aux)


def updates(cfg: Config, image: Image, start: Params) -> dict[str, Callable[[], object]]:
    """One call = one update, by framework."""
    network = build_network(cfg)
    network.load_state_dict(to_torch(start, cfg, use_test_weights=False))
    ours = training_for(network.train(), cfg, updates_per_epoch=1000)
    theirs = Trainer(cfg, image.batch, start.arg, start.aux, schedule_of(cfg, 1000))

    def in_mxnet() -> None:
        theirs.update([image])
        theirs.parameters()  # waits

    return {"torch": lambda: ours.update([image]), "mxnet": in_mxnet}


def measure(config: str, size: tuple[int, int], rounds: int) -> dict:
    cfg = load_config(config, SCALES=list(size))
    scene = SceneSource(0, *size)[3]
    image = Image(task_of(cfg).batch(scene, cfg, Draws(0, 1)), Draws(0, 1))
    calls = updates(cfg, image, quiet_start(cfg))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn:  # the first ones allocate
                seconds[name].append(time.perf_counter() - began)
    best = {name: min(values) for name, values in seconds.items()}
    return {
        "config": config,
        "size": "x".join(map(str, size)),
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "fastest_s": {name: round(value, 3) for name, value in best.items()},
        "median_s": {name: round(statistics.median(values), 3) for name, values in seconds.items()},
        "mxnet_over_torch": round(best["mxnet"] / best["torch"], 2),
        "goal": GOALS["dcn" in config],
        "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),  # of both, so far
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {machine()['processor']}",
        "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE", "not set"),  # of MXNet's OpenBLAS
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", metavar="CONFIG", nargs="+")
    parser.add_argument("--size", default="300x500", help="of the image, pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    height, width = map(int, args.size.split("x"))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    rows = [measure(config, (height, width), args.rounds) for config in args.configs]
    print(json.dumps(rows, indent=1))
    if args.json:
        key = lambda row: (row["config"], row["size"], row["threads"], row["machine"])  # noqa: E731
        kept = json.loads(args.json.read_text(encoding="utf-8")) if args.json.is_file() else []
        merged = {key(row): row for row in [*kept, *rows]}
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(list(merged.values()), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
