"""Parity of any converted graph: every output of every node, four witnesses, end to end."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import fx

from dcn_suite.parity.graph_outputs import Key, Outputs, node_keys, outputs_in_order, watched
from dcn_suite.parity.judge import Judgement, judge_function, judge_rounding, judge_without_float64
from dcn_suite.parity.port import onednn
from dcn_suite.parity.rows import Row, Table, failed_row, judged_row, reported_row
from dcn_suite.parity.trial import check_runs
from dcn_suite.parity.whole_numbers import floating_part, judge_whole, whole_names
from weights_convert import Params, Sparse, parse_symbol
from weights_convert.translate import convert
from weights_convert.translate.module import NODE
from weights_convert.translate.precision import in_float64
from weights_convert.translate.registry import BY_FUNCTION

CHECK = "chained"
INFERRED = ("_zeros", "_zeros_without_dtype", "_ones", "_full")  # a length of 0 is 1 here, and broadcasts


def undecided(module: fx.GraphModule) -> dict[Key, str]:
    """Nodes that draw ("random") or follow a selection, sorting or comparison ("decided"), in which float32 may part from float64."""
    state: dict[fx.Node, str] = {}
    keys = node_keys(module)
    result: dict[Key, str] = {}
    for each in module.graph.nodes:
        found = BY_FUNCTION.get(each.target) if each.op == "call_function" else None
        before = {state[source] for source in each.all_input_nodes if source in state}
        own = "random" if "random" in before or (found and found.random) else ""
        own = own or ("decided" if before or (found and found.decides) else "")
        if own:
            state[each] = own
            if each in keys:
                result |= {(*keys[each], index): own for index in range(64)}
    return result


def broadcasting(module: fx.GraphModule) -> set[tuple[str, int]]:
    """Nodes whose lengths MXNet infers (a begin state's batch, written as 0), and all that read them."""
    keys = node_keys(module)
    found: set[fx.Node] = set()
    for each in module.graph.nodes:
        op = each.meta[NODE].op if each in keys else ""
        own = op in INFERRED and 0 in each.kwargs.get("shape", ())
        if own or any(source in found for source in each.all_input_nodes):
            found.add(each)
    return {keys[each] for each in found if each in keys}


@dataclass
class Witnesses:
    """The outputs of one run by key; float64 of MXNet is None where an operator has no float64 there, and without the
    outputs of whole-number nodes. apart: elements that took MXNet's whole number, by output.
    """

    mxnet32: Outputs
    mxnet64: Outputs | None
    torch32: Outputs
    torch64: Outputs
    whole: frozenset[Key] = frozenset()
    apart: Mapping[Key, int] = field(default_factory=dict)


def operators_by_key(module: fx.GraphModule) -> dict[tuple[str, int], str]:
    return {key: node.meta[NODE].op for node, key in node_keys(module).items()}


def compare(module: fx.GraphModule, seen: Witnesses) -> Table:
    """One row for every output of every node, in the graph's order.

    Float64 agrees to 1e-11 of scale; PyTorch's float32 error is at most twice MXNet's, of this output or, where that is
    more, of any output. What follows a selection is judged in float64 alone; what follows a random draw is reported.
    Without MXNet's float64, PyTorch's is the truth of the second rule, and MXNet's float32 may be at most four times as far
    from it as PyTorch's, plus two roundings (the row says so).
    """
    free, ops, broadcast = undecided(module), operators_by_key(module), broadcasting(module)
    rows: list[Row] = []
    judged: list[tuple[Key, Judgement]] = []
    for depth, (key, mine) in enumerate(seen.torch32.items()):
        extra = {"depth": depth, "operator": ops[key[:2]]}
        label, quantity = label_of(key), f"output {key[2]}"
        if key not in seen.mxnet32:
            rows.append(failed_row(CHECK, label, "MXNet has no such output", **extra))
            continue
        if free.get(key) == "random":
            rows.append(reported_row(CHECK, label, quantity, "drawn at random", "—", "—", **extra))
            continue
        judgement = judged_output(key, seen, decided=key in free, inferred=key[:2] in broadcast)
        if judgement.claims:
            judged.append((key, judgement))
            rows.append(judged_row(CHECK, label, quantity, judgement, **extra))
        else:
            rows.append(reported_row(CHECK, label, quantity, "follows a selection, float32 only", "—", "—", **extra))
        del mine
    worst = max((each.relative_error_mxnet for _, each in judged), default=0.0)
    for _, judgement in judged:
        judgement.ask_layer(worst)
    again = {label_of(key) + f"output {key[2]}": judgement for key, judgement in judged}
    return Table(
        judged_row(
            CHECK, row.node, row.quantity, again[row.node + row.quantity], depth=row.depth, operator=row.operator
        )
        if row.node + row.quantity in again
        else row
        for row in rows
    )


def label_of(key: Key) -> str:
    return key[0] if key[1] == 0 else f"{key[0]}#{key[1] + 1}"


def judged_output(key: Key, seen: Witnesses, *, decided: bool, inferred: bool = False) -> Judgement:
    """inferred: axes of length 1 may be longer in MXNet, which reads their length from what uses the array."""
    judgement = Judgement()
    theirs, mine = number(seen.mxnet32[key]), number(seen.torch32[key])
    ours64 = number(seen.torch64[key])
    if key in seen.whole:
        return judge_whole(theirs, mine, ours64, seen.apart.get(key, 0))
    if inferred:
        mine, ours64 = spread(mine, theirs.shape), spread(ours64, theirs.shape)
    truth = ours64
    if seen.mxnet64 is not None:
        truth = number(seen.mxnet64[key])
        judge_function(judgement, truth, ours64)
    if not decided and seen.mxnet64 is None:
        judge_without_float64(judgement, theirs, mine, truth)
    elif not decided:
        judge_rounding(judgement, theirs, mine, truth)
    return judgement


def spread(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array with axes of length 1 repeated to a shape of as many axes, where that suffices."""
    fits = array.ndim == len(shape) and all(own in (1, n) for own, n in zip(array.shape, shape, strict=True))
    return np.broadcast_to(array, shape) if fits else array


def number(array: np.ndarray) -> np.ndarray:
    """Booleans and whole numbers as float64, so that they are subtracted without wrapping around."""
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def random_inputs(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> dict[str, np.ndarray]:
    """Numbers N(0, 1) in float32, one array for each input."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(tuple(shape), dtype=np.float32) for name, shape in shapes.items()}


def live(
    module: fx.GraphModule,
    text: str,
    arg: Mapping[str, np.ndarray],
    aux: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    *,
    module64: fx.GraphModule | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> tuple[Table, str]:
    """Runs both frameworks in both precisions. Returns: the table, and a note ("" or why there is no float64 of MXNet).

    Args:
        text: the symbol.json. arg, aux: arrays by name, as the module was made of. inputs: by MXNet's name.
        module64: made of the graph whose own float32 constants are float64 (weights_convert.translate.precision).
    """
    from mxnet_ref.any_graph import every_output

    step("MXNet, float32")
    mxnet32 = every_output(text, arg, aux, inputs)
    step("MXNet, float64")
    note = ""
    part, given = floating_part(text)
    values = {**inputs, **{name: mxnet32[name, 0, 0] for name in given}}
    try:
        mxnet64 = every_output(in_float64(part), arg, aux, values, dtype="float64") if part else {}
    except Exception as error:  # MXNet's own error type is not imported here
        mxnet64, note = None, f"MXNet has no float64 of this graph: {reason_of(error)}"
    step("PyTorch")
    names = whole_names(text)
    whole = frozenset(key for key in mxnet32 if key[0] in names)
    double = watched(module64 or module, inputs, "float64", mxnet64, mxnet32)
    # oneDNN's transposed convolution rounds up to four times as coarsely as MXNet's, and a graph of whole numbers has few
    # other layers to be measured by
    with onednn(not whole):
        single = watched(module, inputs, "float32", None, mxnet32)
    apart = {key: max(count, single.apart.get(key, 0)) for key, count in double.apart.items()}
    return compare(module, Witnesses(mxnet32, mxnet64, single.found, double.found, whole, apart)), note


def against_recording(
    module: fx.GraphModule, module64: fx.GraphModule, inputs: Mapping[str, np.ndarray], recorded: Sequence[np.ndarray]
) -> Table:
    """One row for each output that MXNet recorded in float32: as far from PyTorch's float64 as PyTorch's float32 is.

    Outputs that are drawn at random are reported, not judged.
    """
    rows = []
    state = undecided(module)
    (heads,) = next(each for each in module.graph.nodes if each.op == "output").args
    drawn = [is_drawn(each, state, node_keys(module)) for each in (heads if isinstance(heads, tuple) else (heads,))]
    single, double = (
        outputs_in_order(each, inputs, dtype) for each, dtype in ((module, "float32"), (module64, "float64"))
    )
    for place, (theirs, mine, truth) in enumerate(zip(recorded, single, double, strict=True)):
        if drawn[place]:
            rows.append(
                reported_row("recording", f"output {place}", "output", "drawn at random", "—", "—", depth=place)
            )
            continue
        judgement = Judgement()
        judge_without_float64(judgement, number(theirs), number(mine), number(truth))
        rows.append(judged_row("recording", f"output {place}", "output", judgement, depth=place))
    return Table(rows)


def is_drawn(head: fx.Node, state: Mapping[Key, str], keys: Mapping[fx.Node, tuple[str, int]]) -> bool:
    """Whether an output of the graph follows a random draw."""
    owner, index = (head.args[0], head.args[1]) if head not in keys and head.args else (head, 0)
    return owner in keys and state.get((*keys[owner], index)) == "random"


def verify(
    text: str,
    params: Params,
    inputs: Mapping[str, np.ndarray],
    recorded: Sequence[np.ndarray] | None = None,
    *,
    step: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """What `dcn convert --verify` writes for any graph: verdict (holds, does not hold, not verified), why, rows.

    MXNet where it is installed, every layer; else the recorded outputs; else "not verified".
    """
    names, graph = list(inputs), parse_symbol(text)
    module = convert(graph, params, inputs=names)
    module64 = convert(parse_symbol(in_float64(text)), params, inputs=names)
    arrays = Params(*(dense(group, graph.variables()) for group in (params.arg, params.aux)), [], params.bare)
    step("PyTorch")
    check_runs(module, inputs)
    if importlib.util.find_spec("mxnet") is not None:
        aux = {**{name: arrays.arg[name] for name in arrays.bare if name in arrays.arg}, **arrays.aux}
        try:
            table, note = live(module, text, arrays.arg, aux, inputs, module64=module64, step=step)
        except RuntimeError as error:  # MXNet's own; PyTorch has run
            return {"verdict": "not verified", "why": f"MXNet can't run this graph here: {reason_of(error)}"}
        source = "MXNet, run here"
    elif recorded is not None:
        table, note, source = against_recording(module, module64, inputs, recorded), "", "recorded outputs of MXNet"
    else:
        return {"verdict": "not verified", "why": "MXNet is not installed and no recording was given"}
    verdict = "holds" if table.holds else "does not hold"
    return {
        "verdict": verdict,
        "why": "; ".join(f"{row.what}: {row.claim}, {row.got}" for row in table.red[:3]),
        "against": source,
        "note": note,
        "checks": table.summary(),
        "worst_disagreement": table.worst_disagreement,
        "rows": table.as_list(),
    }


def reason_of(error: Exception) -> str:
    """The one line of MXNet's message that says what is wrong."""
    lines = [line for line in str(error).splitlines() if "Error" in line or "Check failed" in line]
    return (lines or [str(error)])[-1].strip()[:200]


def dense(group: Mapping[str, Any], wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """Those arrays that a graph has, none sparse; the others may stand for any number of bytes."""
    found = {name: group[name] for name in wanted if name in group}
    return {name: value.to_dense() if isinstance(value, Sparse) else value for name, value in found.items()}
