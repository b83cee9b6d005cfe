"""`dcn demo`: the whole story on generated data, one page."""

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dcn_suite.cli.output import note, print_json, print_table
from dcn_tasks.errors import InputError

STEPS = 3200
ENOUGH_MAP = 0.5


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="the whole story on generated data: reference, conversion, parity, detection, report",
        description="Trains a narrow Deformable R-FCN with the MXNet operators on generated scenes, saves the checkpoint, converts it, "
        "proves it layer by layer, detects in both frameworks and writes one page. Under 5 minutes on 2 cores; needs MXNet.",
        epilog="example: dcn demo --out demo_report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=Path("demo_report"), metavar="DIR", help="where to write (default: demo_report)"
    )
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"training steps (default: {STEPS})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, scenes and draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: it detects (mAP of at least 0.5), the boxes agree and parity holds; 1: one of them does not."""
    if args.steps < 1 or args.seed < 0:
        raise InputError(
            f"demo: expected --steps of at least 1 and --seed of at least 0, got {args.steps} and {args.seed}"
        )
    if find_spec("mxnet") is None:
        raise InputError(
            "demo: MXNet is not installed, and the demo trains with its operators: run `bash init.sh` with Python 3.10 or 3.11"
        )
    from dcn_suite.demo import story as steps
    from dcn_suite.demo.page import write_page

    start = time.monotonic()
    story = steps.begin(args.out, args.seed)
    steps.train(story, args.steps)
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        tasks: dict[str, int] = {}

        def count(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        steps.score(story, count)
        converted = steps.convert(story)
        proving = progress.add_task("parity", total=None)
        steps.prove(story, converted, lambda text: progress.update(proving, description=f"parity: {text}"))
        progress.update(proving, total=1, completed=1, description="parity")
        steps.detect_in_torch(story, converted, count)
    page = write_page(story, time.monotonic() - start)
    return conclude(story, page, time.monotonic() - start, args.json)


def conclude(story, page: Path, seconds: float, as_json: bool) -> int:
    """The table (or JSON) on stdout and the verdict."""
    table = story.parity.table
    rows = [
        (
            "mAP@0.5 on 100 held-out scenes",
            f">= {ENOUGH_MAP}",
            round(story.score.mean, 3),
            story.score.mean >= ENOUGH_MAP,
        ),
        (
            "boxes with a twin in the other framework",
            "all",
            f"{story.matched} of {story.matched + story.unmatched}",
            story.boxes_agree,
        ),
        (
            "largest difference of two scores",
            "<= 1e-4",
            f"{story.largest_score_difference:.1e}",
            story.largest_score_difference <= 1e-4,
        ),
        ("parity rows that hold", "all", f"{len(table.judged) - len(table.red)} of {len(table.judged)}", table.holds),
        ("mean learnt |offset|, feature px", "> 0", round(story.mean_offset_px, 3), story.mean_offset_px > 0),
    ]
    holds = all(row[-1] for row in rows)
    if as_json:
        keys = ("what", "expected", "got", "holds")
        print_json(
            {
                "holds": holds,
                "page": str(page),
                "seconds": round(seconds, 1),
                "rows": [dict(zip(keys, row, strict=True)) for row in rows],
            }
        )
    else:
        shown = [(*row[:-1], "holds" if row[-1] else "DOES NOT HOLD") for row in rows]
        print_table("dcn demo", ("what", "expected", "got", "verdict"), shown)
    note(f"the page: {page.resolve()} ({seconds:.0f} s)")
    return 0 if holds else 1
