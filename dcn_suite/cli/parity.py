"""`dcn parity`: proves that PyTorch computes what MXNet computes."""

import argparse
import json
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError

RESULTS = Path("parity_all.json")
EXAMPLE = """examples:
  dcn parity demo/narrow_rfcn_dcn --grad --size 192x256
  dcn parity rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem --grad --out parity/
  dcn parity demo/narrow_rfcn_dcn --steps 5
  dcn parity demo/recorded_rfcn_dcn --grad --recording dcn_suite/parity/recordings/rfcn_dcn
      (from a recording: MXNet not needed)
  dcn parity all --results parity_all.json --page parity.md
      (every system at full size, some 70 minutes on two cores; a run that is done is not done again)

exit code: 0 parity holds, 1 it does not, 2 wrong usage
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "parity",
        help="prove that PyTorch computes what MXNet computes, node by node",
        description="Runs one photo through MXNet and PyTorch, each in float32 and float64, and compares every node alone "
        "and the network from end to end.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="YAML path or a name under configs/ without suffix; `all`: every system of the paper at full size",
    )
    parser.add_argument("--grad", action="store_true", help="gradients too (the training graph)")
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="compare N training steps on generated scenes instead, in float64 and float32 (more than 24 GiB for a full-size network)",
    )
    parser.add_argument("--recording", type=Path, metavar="DIR", help="MXNet's side from a recording: MXNet not needed")
    parser.add_argument("--record", type=Path, metavar="DIR", help="keep MXNet's side as a recording (large)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write report.html and parity.json there")
    parser.add_argument(
        "--size", metavar="HxW", help="photo in the network, pixels (default: the configuration's SCALES)"
    )
    parser.add_argument(
        "--float32", action="store_true", help="float64 for single nodes and final outputs alone: for very large photos"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, boxes and draws (default 0)")
    parser.add_argument("--json", action="store_true", help="print parity.json instead of tables")
    parser.add_argument("--brief", action="store_true", help="with --json: without the rows of nodes that simply hold")
    every = parser.add_argument_group("with `all`")
    every.add_argument("--only", nargs="+", metavar="ID", default=[], help="these rows alone, e.g. fpn rfcn-dcn")
    every.add_argument("--fresh", action="store_true", help="also what was done with this code and these versions")
    every.add_argument("--results", type=Path, metavar="FILE", default=RESULTS, help=f"default: {RESULTS}")
    every.add_argument("--page", type=Path, metavar="FILE", help="write the table as a Markdown page")
    parser.set_defaults(run=run)


def size_of(text: str) -> tuple[int, int]:
    """ "600x1000" -> (600, 1000)."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(sides := (int(match[1]), int(match[2]))) < 32 or max(sides) > 4096:
        raise InputError(f"--size: expected HEIGHTxWIDTH of 32 to 4096 pixels, e.g. 600x1000, got {text!r}")
    return sides


def run(args: argparse.Namespace) -> int:
    """Exit code 0: parity holds; 1: it does not. Raises: InputError for wrong usage."""
    if args.steps is not None and args.steps < 1:
        raise InputError(f"--steps: expected at least 1, got {args.steps}")
    if args.recording is None and find_spec("mxnet") is None:
        raise InputError(
            "parity: MXNet is not installed, so its side can't be computed: use --recording DIR, or install the extra `mxnet` "
            "(Python 3.10 or 3.11)"
        )
    if args.config == "all":
        from dcn_suite.cli.parity_all import run_all_systems

        return run_all_systems(args)
    if args.only or args.fresh or args.page or args.results != RESULTS:
        raise InputError("--only, --fresh, --results and --page go with `dcn parity all`")
    if args.float32 and (args.grad or args.steps or args.record):
        raise InputError("--float32 leaves out what --grad, --steps and --record want: leave out one of them")
    if args.steps is not None and (args.record or args.size):
        raise InputError(
            "--steps trains at the configuration's own SCALES and records nothing: leave out --size and --record"
        )
    if args.seed < 0:
        raise InputError(f"--seed: expected 0 or more, got {args.seed}")
    return run_one(args.config, args)


def run_one(name: str, args: argparse.Namespace) -> int:
    from dcn_suite.parity.blas import told_of_avx2
    from dcn_suite.parity.report import print_table, write_report
    from dcn_suite.parity.run import Settings, run_parity

    if "mxnet" not in sys.modules:  # its BLAS looks once, when it is loaded
        os.environ.update(told_of_avx2())
    cfg = load_config(name)
    settings = Settings(
        size_of(args.size) if args.size else tuple(cfg.SCALES[0]), args.grad, args.seed, not args.float32
    )
    logs = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=logs, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(f"parity of {name}", total=None)

        def step(text: str) -> None:
            progress.update(task, description=text)
            progress.refresh()

        if args.steps is not None:
            from dcn_suite.parity.trajectory import run_trajectory

            result = run_trajectory(name, settings, steps=args.steps, step=step)
        else:
            result = run_parity(name, settings, recording=args.recording, record_to=args.record, step=step)
    paths = write_report(result, args.out) if args.out else {}
    if args.json:
        print(json.dumps(result.as_dict(brief=args.brief), indent=1, allow_nan=False))
    else:
        print_table(result, Console(width=None if sys.stdout.isatty() else 160))
        for path in paths.values():
            print(path)
    return 0 if result.table.holds else 1
