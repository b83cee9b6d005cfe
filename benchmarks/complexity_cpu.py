"""Times every network of the paper's table and writes benchmarks/results/complexity_cpu.json.

    OMP_NUM_THREADS=2 python benchmarks/complexity_cpu.py [--turns N] [--prefix "chrt -f 10"]

Each network is a process of its own, `dcn complexity --row ID --time --json`, in which PyTorch and MXNet take turns, and
`dcn complexity CONFIG ... --time --json` for those that the paper's table does not have. `--prefix` goes in front of it.
Afterwards `dcn complexity --page docs/complexity.md` writes the page.
"""

import argparse
import datetime
import json
import shlex
import subprocess
import sys
from pathlib import Path

from dcn_suite.complexity.rows import paper_rows
from dcn_tasks.files import atomic_path

RESULTS = Path(__file__).parent / "results" / "complexity_cpu.json"
OTHERS = {  # network: plain and deformable configuration
    "FPN": "fpn/resnet_v1_101_coco_trainval_fpn{}_end2end_ohem",
    "R-FCN, Aligned-Inception-ResNet": "rfcn/aligned_inception_resnet_coco_trainval_rfcn{}_end2end_ohem",
    "Faster R-CNN, Aligned-Inception-ResNet": "faster_rcnn/aligned_inception_resnet_coco_trainval_rcnn{}_end2end",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="measurements of each network (default: 3)")
    parser.add_argument("--prefix", default="", help="command that runs the measuring process")
    parser.add_argument(
        "--only", action="append", default=[], help="a row's id or another network's name; keeps the others' results"
    )
    args = parser.parse_args()
    stored = json.loads(RESULTS.read_text()) if args.only and RESULTS.is_file() else {"timings": [], "environment": {}}
    timings = {(each["network"], each["variant"], each["framework"]): each for each in stored["timings"]}
    for name, words in runs().items():
        if args.only and name not in args.only:
            continue
        command = [*shlex.split(args.prefix), sys.executable, "-m", "dcn_suite.cli.main", "complexity", *words]
        command += ["--time", "--json", "--turns", str(args.turns)]
        print(shlex.join(command), file=sys.stderr, flush=True)
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
        loads = [*stored["environment"].get("load", []), found["environment"]["load"]]
        stored["environment"] = found["environment"] | {"load": [min(loads), max(loads)]}  # of all networks timed
        measured = f"{datetime.date.today()}, {args.turns} turns, load {found['environment']['load']}"
        for each in found["timings"]:
            each["measured"] = measured
            if name in OTHERS:  # CONFIG has no variants: by the names given here
                each |= {"network": name, "variant": "deformable" if "_dcn" in each["network"] else "plain"}
            timings[each["network"], each["variant"], each["framework"]] = each
        stored["timings"] = list(timings.values())
        with atomic_path(RESULTS) as temporary:
            temporary.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def runs() -> dict[str, list[str]]:
    """What to time, with the words for `dcn complexity`."""
    rows = {row.id: ["--row", row.id] for row in paper_rows()}
    return rows | {name: [config.format(""), config.format("_dcn")] for name, config in OTHERS.items()}


if __name__ == "__main__":
    main()
