"""`dcn complexity`: parameters, multiply-adds and run time of the networks, beside the paper's table."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from dcn_suite.cli.output import note, print_json, print_table
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path

EXAMPLES = """examples:
  dcn complexity                                   the paper's table, counted on the networks of this package
  dcn complexity rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem
  dcn complexity --time --json                     also timed, in PyTorch and MXNet by turns, a thread a core
  dcn complexity --page docs/complexity.md         the table with its explanations as a page"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "complexity",
        help="parameters, multiplications and time of a configuration",
        description="Without CONFIG: the paper's table of parameters and run time, counted on the networks built here, with "
        "every difference explained. With CONFIG: what these networks hold.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "configs", metavar="CONFIG", nargs="*", help="YAML path or a name under configs/ without suffix"
    )
    parser.add_argument("--time", action="store_true", help="time inference too (minutes)")
    parser.add_argument("--turns", metavar="N", type=int, default=3, help="measurements of each network (default: 3)")
    parser.add_argument(
        "--row", metavar="ID", action="append", default=[], help="only this row of the paper's table, complexity/rfcn"
    )
    parser.add_argument("--page", metavar="FILE", type=Path, help="write the paper's table as a Markdown page")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises: InputError for an unknown configuration, or options that do not go together."""
    if args.turns < 1:
        raise InputError(f"--turns: expected at least 1, got {args.turns}")
    if args.page and (args.configs or args.time or args.row):
        raise InputError("--page writes the paper's table, counted: leave out CONFIG, --row and --time")
    if args.configs and args.row:
        raise InputError("--row is of the paper's table: leave it out, or CONFIG")
    return of_configs(args) if args.configs else of_the_paper(args)


def of_the_paper(args: argparse.Namespace) -> int:
    from dcn_suite.complexity import page
    from dcn_suite.complexity.rows import VARIANTS
    from dcn_suite.complexity.table import counted_rows

    rows, absent = counted_rows(only=args.row)
    for row in absent:
        note(f"{row.name}: skipped, this package has no {' and '.join(row.configs)}")
    if args.page:
        with atomic_path(args.page) as temporary:
            temporary.write_text(page.render(rows, absent), encoding="utf-8")
        print(args.page)
        return 0
    timings = timed({row.row.name: dict(zip(VARIANTS, map(row.row.load, (0, 1)), strict=True)) for row in rows}, args)
    if args.json:
        print_json({"rows": [page.as_dict(row) for row in rows], "not built": [row.name for row in absent], **timings})
        return 0
    print_table("Parameters, millions", page.columns(rows), page.cells(rows))
    for row in rows:
        print(f"{row.row.name}: {' '.join(row.explanation())}")
    print(page.surplus_sentence(rows))
    if timings:
        print_table("Run time, seconds a picture", page.TIME_COLUMNS, page.time_cells(timings["timings"], rows))
        print(json.dumps(timings["environment"]))
    return 0


def of_configs(args: argparse.Namespace) -> int:
    from dcn_suite.complexity.table import MILLION, counted_config
    from dcn_tasks.config import load_config

    counts = {name: counted_config(name) for name in args.configs}
    timings = timed({name: {"": load_config(name)} for name in args.configs}, args)
    if args.json:
        print_json(
            {
                "configs": {
                    name: {
                        **count.parts,
                        "total": count.total,
                        "statistics": count.statistics,
                        "multiply_adds": count.multiply_adds,
                    }
                    for name, count in counts.items()
                },
                **timings,
            }
        )
        return 0
    for name, count in counts.items():
        rows = [[part, number / MILLION] for part, number in count.parts.items() if number]
        rows += [["all parameters", count.total / MILLION], ["running means and variances", count.statistics / MILLION]]
        print_table(name, ("part", "million"), rows)
        print(f"{(count.multiply_adds or 0) / 1e9:.4g} thousand million multiply-adds a picture at SCALES")
    for each in timings.get("timings", []):
        print(
            f"{each['network']}, {each['framework']}: forward {each['forward_s']:.3f} s, overall {each['overall_s']:.3f} s"
        )
    return 0


def timed(networks: dict, args: argparse.Namespace) -> dict:
    """{} without --time; else the times of every network's variants, and of what they depend on."""
    if not args.time:
        return {}
    from importlib.util import find_spec

    from dcn_suite.complexity.timing import environment, time_variants

    if find_spec("mxnet") is None:
        note("MXNet is not installed: PyTorch alone is timed")
    timings = []
    with Console(stderr=True).status("timing") as status:
        for name, configs in networks.items():
            found = time_variants(name, configs, turns=args.turns, step=status.update)
            timings += [each.as_dict() for each in found]
            if not sys.stderr.isatty():
                note(f"{name}: timed")
    return {"timings": timings, "environment": environment()}
