"""`dcn convert --symbol`: any MXNet graph with its parameters to a folder for PyTorch, and such a folder back to MXNet."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from dcn_suite.cli.output import staged_folder
from dcn_tasks.errors import InputError
from weights_convert import (
    Params,
    convert,
    load_params,
    load_symbol,
    load_weights,
    parse_symbol,
    save_params,
    save_weights,
)
from weights_convert.byte_cursor import map_file
from weights_convert.weights_file import listed_texts

WEIGHTS, GRAPH, SOURCE, PARITY = "model.safetensors", "model-symbol.json", "model.py", "parity.json"


def input_arrays(shapes: list[str], recording: Path | None) -> tuple[dict[str, np.ndarray], list[np.ndarray] | None]:
    """Inputs for the proof, from NAME=1,3,224,224 (numbers N(0, 1)) or a recording with in:NAME and out... arrays.

    Returns: inputs by name, and recorded outputs in the graph's order or None. Raises: InputError for an unreadable one.
    """
    if recording is not None:
        arrays = load_params(recording).arg
        inputs = {name[3:]: value for name, value in arrays.items() if name.startswith("in:")}
        places = {int(found[1]): name for name in arrays if (found := re.match(r"out(\d+)(:|$)", name))}
        outputs = [arrays[places[place]] for place in sorted(places)]
        if not inputs or not outputs:
            raise InputError(f"{recording}: expected arrays in:NAME and out0, out1, ...; record them in MXNet")
        return inputs, outputs
    rng = np.random.default_rng(0)
    inputs = {}
    for given in shapes:
        name, equals, sides = given.partition("=")
        try:
            shape = tuple(int(side) for side in sides.split(","))
        except ValueError:
            shape = ()
        if not equals or not shape or min(shape) < 1:
            raise InputError(f"--input {given}: expected NAME=SIDE,SIDE,..., for example data=1,3,224,224")
        inputs[name] = rng.standard_normal(shape, dtype=np.float32)
    return inputs, None


def convert_graph(
    source: Path, symbol: Path, out: Path, *, verify: bool, emit: bool, shapes: list[str], recording: Path | None
) -> dict[str, Any]:
    """Writes OUT/model.safetensors (MXNet's names), model-symbol.json, parity.json and, with emit, model.py; all or none."""
    from weights_convert.translate import input_names, mxnet_names
    from weights_convert.translate.source import to_source

    params = load_params(source)
    inputs, recorded = input_arrays(shapes, recording)
    graph = load_symbol(symbol)
    text = bytes(map_file(symbol)[:]).decode("utf-8")
    module = convert(graph, params, inputs=inputs or None)
    state = module.state_dict()
    tensors = {name: state[path] for name, path in mxnet_names(module).items()}
    unused = module.meta["mxnet"]["unused"]
    with staged_folder(out) as staging:
        aux = sorted(name for name in tensors if name in params.aux)
        save_weights(staging / WEIGHTS, tensors, {"format": "pt", "source": source.name, "aux": aux})
        (staging / GRAPH).write_text(text, encoding="utf-8")
        if emit:
            (staging / SOURCE).write_text(to_source(module, f"Converted from {symbol.name}."), encoding="utf-8")
        parity = proof(text, params, inputs, recorded, verify)
        (staging / PARITY).write_text(json.dumps(parity, indent=2) + "\n", encoding="utf-8")
    notes = [f"{len(unused)} arrays of the file are not in the graph: {', '.join(unused[:8])}"] if unused else []
    return {
        "out": str(out),
        "inputs": ", ".join(input_names(module)),
        "outputs": len(graph.heads),
        "tensors": len(tensors),
        "parity": parity,
        "notes": notes,
    }


def proof(
    text: str, params: Params, inputs: Mapping[str, np.ndarray], recorded: list[np.ndarray] | None, verify: bool
) -> dict[str, Any]:
    if not verify:
        return {"verdict": "not verified", "why": "--verify was not given"}
    if not inputs:
        return {
            "verdict": "not verified",
            "why": "no input to run: give --input data=1,3,224,224 or --recording FILE.npz",
        }
    from dcn_suite.parity.any_graph import verify as compare

    with Console(stderr=True).status("comparing MXNet and PyTorch") as status:
        return compare(text, params, inputs, recorded, step=status.update)


def graph_to_mxnet(folder: Path, prefix: Path) -> dict[str, Any]:
    """Writes PREFIX-symbol.json and PREFIX-0000.params from a folder of `dcn convert --symbol`."""
    from weights_convert.tensors import to_array
    from weights_convert.translate.back import to_symbol

    weights = load_weights(folder / WEIGHTS)
    graph = parse_symbol(map_file(folder / GRAPH)[:], folder / GRAPH)
    states = set(listed_texts(folder / WEIGHTS, weights.metadata, "aux"))
    arrays = {name: to_array(tensor) for name, tensor in weights.state.items()}
    params = Params(
        {name: value for name, value in arrays.items() if name not in states},
        {name: value for name, value in arrays.items() if name in states},
    )
    text, back = to_symbol(convert(graph, params))
    file, symbol = prefix.parent / f"{prefix.name}-0000.params", prefix.parent / f"{prefix.name}-symbol.json"
    with staged_folder(prefix.parent) as staging:
        save_params(staging / file.name, back)
        (staging / symbol.name).write_text(text, encoding="utf-8")
    return {"written": f"{file}, {symbol}", "arg": len(back.arg), "aux": len(back.aux), "notes": []}
