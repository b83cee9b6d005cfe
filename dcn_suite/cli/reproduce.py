"""`dcn reproduce`: the rows of the published tables: listed, run, compared."""

import argparse
from dataclasses import asdict
from pathlib import Path

from dcn_suite.cli.output import note, print_json, print_table
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path

EXAMPLES = """examples:
  dcn reproduce                                         every row, what was published, what was measured
  dcn reproduce ablation-layers                         the rows of one table
  dcn reproduce ablation-layers/rfcn-3 --data VOCdevkit trains and scores one row in both frameworks; again after a break: goes on
  dcn reproduce mnist --run --data DIR                  every row of a table; what is stored is not run again
  dcn reproduce mnist/deformable --framework torch --seeds 0 --columns rotated --data DIR
  dcn reproduce --page RESULTS.md                       the page, from stored results alone"""
COLUMNS = ("row", "what", "published", "measured", "status", "data", "cost", "config", "frameworks")
BRIEF = 5  # columns of the table on a terminal; --json has all


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "reproduce",
        help="list, run and compare the rows of the paper's tables",
        description="Rows of the paper's and the original README's tables. TABLE/ROW is run; without it rows are listed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("what", metavar="TABLE[/ROW]", nargs="?", help="a table to list, or a row to run")
    add("--run", dest="run_table", action="store_true", help="run every row of the table")
    add("--framework", choices=("torch", "mxnet"), help="run in one framework only (default: all of the row's)")
    add("--seeds", metavar="N,N", type=numbers, help="run these seeds only (default: all of the row's)")
    add("--columns", metavar="NAME,NAME", type=words, help="run these columns only, where they are runs of their own")
    add("--data", metavar="DIR", type=Path, default=Path("data"), help="folder of the data sets (default: data)")
    add("--results", metavar="DIR", type=Path, help="where results are stored (default: experiments/results)")
    add("--work", metavar="DIR", type=Path, default=Path("output/reproduce"), help="where trainings are kept")
    add("--image-set", metavar="SET", help="score on this set too; its figures are told beside the row's")
    add(
        "--again",
        action="store_true",
        help="run what is stored already once more; a training that is kept under --work is scored anew",
    )
    add(
        "--page",
        metavar="FILE",
        type=Path,
        help="write the results as a Markdown page, with its figures in docs/images",
    )
    add("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def words(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def run(args: argparse.Namespace) -> int:
    """Raises: InputError for an unknown row, data that is missing, or options that do not go together."""
    from dcn_suite.reproduce.registry import find_row, find_table, results_root, tables

    root = args.results or results_root()
    if any(seed < 0 for seed in args.seeds or ()):
        raise InputError(f"--seeds: expected numbers of 0 or more, got {', '.join(map(str, args.seeds))}")
    if args.page:
        return write_page(args, root)
    if args.what and "/" in args.what:
        return run_rows((find_row(args.what),), args, root)
    found = (find_table(args.what),) if args.what else tables()
    if args.run_table:
        if not args.what:
            raise InputError("--run: name a table, as in `dcn reproduce mnist --run`")
        for row in found[0].rows:
            if not row.has_command:
                note(f"{row.id}: left out, nothing measures it yet")
        return run_rows(tuple(row for row in found[0].rows if row.has_command), args, root)
    if args.again:
        raise InputError("--again: name a row, or add --run to measure a whole table again")
    return list_rows(tuple(row for table in found for row in table.rows), args, root)


def write_page(args: argparse.Namespace, root: Path) -> int:
    from dcn_suite.pictures import save_png
    from dcn_suite.reproduce.figure import PICTURES
    from dcn_suite.reproduce.page import FIGURES, render

    if args.what or args.run_table:
        raise InputError("--page writes every table: leave TABLE and --run out")
    with atomic_path(args.page) as temporary:
        temporary.write_text(render(root), encoding="utf-8")
    print(args.page)
    for table, picture in PICTURES.items():
        if (figure := picture(root)) is not None:
            path = args.page.parent / FIGURES[table][1]
            save_png(path, figure)
            print(path)
    return 0


def list_rows(rows: tuple, args: argparse.Namespace, root: Path) -> int:
    from dcn_suite.reproduce.page import listing

    lines = listing(rows, root)
    if args.json:
        print_json([dict(zip(COLUMNS, line, strict=True)) for line in lines])
        return 0
    print_table(f"{len(rows)} rows", COLUMNS[:BRIEF], [line[:BRIEF] for line in lines])
    return 0


def run_rows(rows: tuple, args: argparse.Namespace, root: Path) -> int:
    from dcn_suite.reproduce.results import read
    from dcn_suite.reproduce.runs import Choice, perform, runs_of

    choice = Choice(
        frameworks=(args.framework,) if args.framework else None, seeds=args.seeds, columns=args.columns, data=args.data,
        results=root, work=args.work, image_set=args.image_set, again=args.again,
    )  # fmt: skip
    runs = [each for row in rows for each in runs_of(row, choice)]
    done = list(perform(runs, choice, note))
    stored = [each for each in runs if each.path(root).is_file()]
    note(f"{len(done)} of {len(runs)} runs done now, {len(stored) - len(done)} were stored already, under {root}")
    if args.json:
        print_json([asdict(read(each.path(root))) for each in stored])
        return 0
    return list_rows(rows, args, root)
