"""`dcn inspect FILE`: what is in a .params, .nd, .npz, symbol.json or .safetensors file."""

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from dcn_suite.cli.output import print_json, print_table
from weights_convert import Sparse, load_params, load_symbol, load_weights
from weights_convert.arrays import Array
from weights_convert.byte_cursor import map_file
from weights_convert.tensors import to_array

CHUNK = 1 << 20  # elements looked at at once, so that statistics need little memory
COLUMNS = ("name", "shape", "dtype", "min", "max", "mean")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "inspect",
        help="what is in a .params, symbol.json or .safetensors file",
        description="Lists the arrays of a parameter file (name, shape, type, min, max, mean), or the operators of a "
        "graph. Needs no MXNet and executes nothing that the file holds.",
        epilog="example: dcn inspect rfcn_dcn_coco-0000.params",
    )
    parser.add_argument("file", type=Path, help=".params, .nd, .npz, .npy, symbol.json or .safetensors")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    head = bytes(map_file(args.file)[:9])
    if head[:1] in (b"{", b"\n", b" "):
        result = graph_result(args.file)
    elif head[8:9] == b"{":
        weights = load_weights(args.file)
        arrays: dict[str, Array] = {name: to_array(tensor) for name, tensor in weights.tensors().items()}
        result = arrays_result(args.file, "safetensors", arrays) | {"metadata": weights.metadata}
    else:
        result = arrays_result(args.file, "params", dict(load_params(args.file).items()))
    if args.json:
        print_json(result)
    else:
        show(result)
    return 0


def arrays_result(path: Path, kind: str, arrays: dict[str, Array]) -> dict:
    console = Console(stderr=True)
    watched = track(arrays.items(), "looking", console=console, transient=True, disable=not sys.stderr.isatty())
    rows = [describe(name, array) for name, array in watched]
    elements = sum(int(np.prod(row["shape"], dtype=object)) for row in rows)
    return {"file": str(path), "kind": kind, "arrays": rows, "count": len(rows), "elements": elements}


def describe(name: str, array: Array) -> dict:
    """One row. A sparse array's numbers are over its stored values."""
    values = array.data if isinstance(array, Sparse) else array
    storage = {"storage": array.kind, "stored": len(array.data)} if isinstance(array, Sparse) else {}
    return {"name": name, "shape": list(array.shape), "dtype": array.dtype.name, **storage, **statistics(values)}


def statistics(values: np.ndarray) -> dict[str, float | int | None]:
    """min, max and mean in float64, and the number of elements that are not finite (left out of the three)."""
    flat = values.reshape(-1)
    low, high, total, count = np.inf, -np.inf, 0.0, 0
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK].astype(np.float64)
        part = part[np.isfinite(part)]
        if part.size:
            low, high = min(low, float(part.min())), max(high, float(part.max()))
            with np.errstate(over="ignore"):  # a sum past 1e308 is shown as inf
                total, count = total + float(part.sum()), count + part.size
    if not count:
        return {"min": None, "max": None, "mean": None, "not_finite": flat.size}
    return {"min": low, "max": high, "mean": total / count, "not_finite": flat.size - count}


def graph_result(path: Path) -> dict:
    graph = load_symbol(path)
    heads = [f"{graph.nodes[head.node].name}[{head.output}]" for head in graph.heads]
    return {
        "file": str(path),
        "kind": "graph",
        "mxnet_version": f"{graph.version // 10000}.{graph.version // 100 % 100}.{graph.version % 100}",
        "nodes": len(graph.nodes),
        "operators": graph.op_counts(),
        "variables": len(graph.variables(aux=False)),
        "auxiliary": len(graph.variables(aux=True)),
        "outputs": heads,
    }


def show(result: dict) -> None:
    if result["kind"] == "graph":
        title = (
            f"{result['file']}: written by MXNet {result['mxnet_version']}, {result['variables']} variables, "
            f"{result['auxiliary']} auxiliary states, outputs {', '.join(result['outputs'])}"
        )
        print_table(title, ("operator", "nodes"), list(result["operators"].items()))
        return
    title = f"{result['file']}: {result['count']} arrays, {result['elements']} elements"
    print_table(title, COLUMNS, [row_cells(row) for row in result["arrays"]])
    for key, value in result.get("metadata", {}).items():
        print(f"{key}: {value if len(value) < 200 else value[:200] + '...'}")


def row_cells(row: dict) -> list[object]:
    dtype = row["dtype"] + (f" {row['storage']}, {row['stored']} stored" if "storage" in row else "")
    numbers = ["-" if row[key] is None else f"{row[key]:.6g}" for key in ("min", "max", "mean")]
    if row["not_finite"]:
        numbers[2] += f" ({row['not_finite']} not finite)"
    return [row["name"], row["shape"], dtype, *numbers]
