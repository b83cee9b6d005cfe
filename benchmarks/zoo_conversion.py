"""Converts GluonCV's zoo, name by name in processes of their own, compares all layers with MXNet, and writes the table.

    python benchmarks/zoo_conversion.py [NAME ...] [--out benchmarks/results/zoo_conversion.json] [--timeout 600]
    python benchmarks/zoo_conversion.py --back               # the way back, where a row does not say it yet
    python benchmarks/zoo_conversion.py --page-only          # docs/zoo.md from the stored results

Names that the result file already has are passed over (--again runs them again), so an interrupted run goes on.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results/zoo_conversion.json"
PAGE = ROOT / "docs/zoo.md"


def report(name: str, back: bool, end) -> None:
    """Sends the result of one model, from a process of its own."""
    from dcn_suite.parity.zoo import check, check_back

    end.send(check_back(name) if back else check(name))


def in_process(name: str, timeout: float, *, back: bool = False) -> dict:
    """The result of one model, from a process that ends with it; it has this one's modules loaded already.

    Args: back: the way back alone.
    """
    forking = multiprocessing.get_context("fork")
    here, there = forking.Pipe(duplex=False)
    process = forking.Process(target=report, args=(name, back, there))
    started = time.time()
    process.start()
    there.close()
    try:
        if not here.poll(timeout):
            return {"name": name, "verdict": "not run", "why": f"not finished after {timeout:.0f} s"}
        result = here.recv()
    except EOFError:
        process.join()
        result = {"name": name, "verdict": "not run", "why": f"the process ended with exit code {process.exitcode}"}
    finally:
        process.kill()
        process.join()
    return result | {"seconds": round(time.time() - started, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--again", action="store_true", help="also names that have a result")
    parser.add_argument("--back", action="store_true", help="only the way back, of rows that hold and do not say it")
    parser.add_argument("--page-only", action="store_true", help="only write the page from the stored results")
    args = parser.parse_args()
    from dcn_suite.parity.zoo_page import NOT_TRIED, render
    from dcn_tasks.files import atomic_path

    found = {row["name"]: row for row in json.loads(args.out.read_text())} if args.out.exists() else {}
    if not args.page_only:
        os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"
        import gluoncv  # noqa: F401  loaded once, for all models

        import dcn_suite.parity.zoo  # noqa: F401
        from mxnet_ref.zoo import zoo_names

        every = zoo_names()
        found = {name: found.get(name, {"name": name, "verdict": NOT_TRIED}) for name in every}
        for name in args.names or every:
            if args.back:
                if found[name]["verdict"] != "holds" or ("back" in found[name] and not args.again):
                    continue
                row = in_process(name, args.timeout, back=True)
                found[name]["back"] = row.get("back") or row["why"]
                print(name, found[name]["back"], flush=True)
            elif found[name]["verdict"] != NOT_TRIED and not args.again:
                continue
            else:
                found[name] = in_process(name, args.timeout)
                print(name, found[name]["verdict"], found[name].get("why", ""), flush=True)
            with atomic_path(args.out) as temporary:
                temporary.write_text(json.dumps(list(found.values()), indent=1) + "\n")
    with atomic_path(PAGE) as temporary:
        temporary.write_text(render(list(found.values())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
