"""Times inference of converted zoo models in PyTorch and of the originals in MXNet 1.9.1 on the CPU, taking turns.

    OMP_NUM_THREADS=2 python benchmarks/zoo_speed.py [NAME ...] [--rounds 7] [--json benchmarks/results/zoo_speed.json]

One image of the size that the model was trained for, random weights with calibrated statistics, both frameworks on
OMP_NUM_THREADS threads, each model in a process of its own. "converted" is what `convert` gives; "for_inference" its copy with
BatchNorm folded, "channels_last" the same in channels_last (the default of `for_inference`),
"packed" that with weights laid out for the image (`inputs=`). Reported: medians, and MXNet's
over PyTorch's; a result for the same model and threads replaces the one in the file.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIZES = {
    "resnet50_v1": (224, 224), "resnet50_v2": (224, 224), "mobilenetv2_1.0": (224, 224), "vgg16": (224, 224),
    "densenet121": (224, 224), "squeezenet1.1": (224, 224), "inceptionv3": (299, 299), "se_resnext50_32x4d": (224, 224),
    "ssd_512_resnet50_v1_voc": (512, 512), "yolo3_darknet53_voc": (416, 416), "fcn_resnet50_voc": (480, 480),
    "simple_pose_resnet50_v1b": (256, 192),
}  # fmt: skip
GOAL = 1.0  # MXNet's time over PyTorch's


def runs_of(name: str) -> dict[str, Callable[[], list[np.ndarray]]]:
    """One call = one forward pass, by what runs it; all give the outputs."""
    import torch

    from dcn_suite.parity.any_graph import random_inputs
    from dcn_suite.parity.zoo import calibrated
    from mxnet_ref.any_graph import bound_forward
    from mxnet_ref.zoo import made_up, zoo_model
    from weights_convert import Params, convert, parse_symbol
    from weights_convert.translate.inference import for_inference

    model = zoo_model(name, {"data": (1, 3, *SIZES[name])})
    arg, aux = made_up(model)
    inputs = random_inputs(model.inputs)
    graph = parse_symbol(model.text, name)
    arg, aux, _ = calibrated(graph, arg, aux, inputs)
    module = convert(graph, Params(dict(arg), dict(aux)), inputs=inputs)
    data = torch.from_numpy(inputs["data"])

    def in_torch(made) -> Callable[[], list[np.ndarray]]:
        def run() -> list[np.ndarray]:
            with torch.inference_mode():
                found = made(data=data)
            return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]

        return run

    return {
        "mxnet": bound_forward(model.text, arg, aux, inputs),
        "converted": in_torch(module),
        "for_inference": in_torch(for_inference(module, channels_last=False)),
        "channels_last": in_torch(for_inference(module)),
        "packed": in_torch(for_inference(module, inputs={"data": data})),
    }


def measure(name: str, rounds: int, end) -> None:
    """Sends the row of one model."""
    import torch

    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    torch.set_num_threads(threads)
    runs = runs_of(name)
    first = {key: run() for key, run in runs.items()}
    seconds: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[key].append(time.perf_counter() - began)
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    end.send({
        "name": name,
        "size": "x".join(map(str, SIZES[name])),
        "threads": threads,
        "rounds": rounds,
        "median_ms": {key: round(1e3 * value, 2) for key, value in medians.items()},
        "fastest_ms": {key: round(1e3 * min(values), 2) for key, values in seconds.items()},
        "mxnet_over": {key: round(medians["mxnet"] / value, 2) for key, value in medians.items() if key != "mxnet"},
        "goal": GOAL,
        "differs_from_mxnet": {key: largest_difference(first["mxnet"], first[key]) for key in runs if key != "mxnet"},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
    })  # fmt: skip


def largest_difference(theirs: list[np.ndarray], ours: list[np.ndarray]) -> float:
    """Of any output, over its scale: that the same thing was timed."""
    pairs = [(one.astype(np.float64), other) for one, other in zip(ours, theirs, strict=True)]
    return max(float(np.abs(one - other).max() / (np.abs(other).max() or 1)) for one, other in pairs)


def in_process(name: str, rounds: int) -> dict:
    fresh = multiprocessing.get_context("spawn")
    here, there = fresh.Pipe(duplex=False)
    process = fresh.Process(target=measure, args=(name, rounds, there))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        process.join()
        return {"name": name, "failed": f"the process ended with exit code {process.exitcode}"}
    finally:
        process.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if unknown := set(args.names) - SIZES.keys():
        parser.error(f"no size is known for {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}")
    rows = []
    for name in args.names or SIZES:
        rows.append(in_process(name, args.rounds))
        print(json.dumps(rows[-1]), flush=True)
    if args.json:
        from dcn_tasks.files import atomic_path

        key = lambda row: (row["name"], row.get("threads"))  # noqa: E731
        kept = json.loads(args.json.read_text(encoding="utf-8")) if args.json.is_file() else []
        merged = {key(row): row for row in [*kept, *rows]}
        with atomic_path(args.json) as temporary:
            temporary.write_text(json.dumps(list(merged.values()), indent=1) + "\n", encoding="utf-8")
    return 1 if any("failed" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
