"""`dcn parity all`: every system of the paper, one after another, into one table."""

import argparse
import json
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dcn_suite.cli.output import note, print_table
from dcn_tasks.errors import InputError


def run_all_systems(args: argparse.Namespace) -> int:
    """Exit code 0: every chosen run holds, within its memory; 1: one does not.

    Raises: InputError for options of a single run, an unknown row, or a results file of something else.
    """
    from dcn_suite.parity.suite import Results, run_all
    from dcn_suite.parity.suite.page import COLUMNS, all_hold, lines, totals, write_page
    from dcn_suite.parity.suite.plan import chosen_runs, planned_runs

    if args.recording or args.record or args.steps or args.size or args.grad or args.float32:
        raise InputError(
            "parity all: sizes and gradients are those of experiments/parity.yaml: leave out options of one run"
        )
    runs, results = chosen_runs(args.only), Results(args.results)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("parity", total=len(runs))

        def started(place, run) -> None:
            progress.update(task, description=run.id, completed=place)

        def finished(run, entry) -> None:
            verdict = "holds" if entry["holds"] else entry.get("error", f"{entry.get('red')} red rows")
            note(f"{run.id}: {verdict}, {entry['wall_s']:.0f} s, {entry['peak_gib']:.1f} GiB")

        run_all(runs, results, fresh=args.fresh, out=args.out, started=started, finished=finished)
    if args.json:
        found = [results.entries[run.id] for run in runs]
        print(json.dumps({"holds": all_hold(runs, results.entries), "runs": found}, indent=1, allow_nan=False))
    else:
        print_table("Parity of every system", COLUMNS, lines(runs, results.entries))
        print(totals(runs, results.entries))
    if args.page:
        write_page(args.page, planned_runs(), results.entries)
    return 0 if all_hold(runs, results.entries) else 1
