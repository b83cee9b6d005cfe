"""One model of GluonCV's zoo: built with made-up weights, converted, all layers compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from dcn_suite.parity.any_graph import live, random_inputs
from dcn_suite.parity.rows import Table
from dcn_suite.parity.whole_numbers import fill_range
from weights_convert import Params
from weights_convert.graph import Graph, parse_symbol
from weights_convert.translate import convert
from weights_convert.translate.back import to_symbol
from weights_convert.translate.module import input_names
from weights_convert.translate.operators.fused import sg_mkldnn_conv
from weights_convert.translate.precision import in_float64
from weights_convert.translate.registry import REGISTRY

QUIET = 0.3  # share of a residual branch that is added: rounding does not grow from unit to unit
BRANCHES = 50  # of more than these, all together add as much
SOFTER = 1 / 3  # times that in a second try, where random weights (attention, say) let rounding grow all the same
NORMALIZATIONS = (REGISTRY["BatchNorm"].function, REGISTRY["_contrib_SyncBatchNorm"].function)
PASSES = (REGISTRY["broadcast_mul"].function, REGISTRY["Dropout"].function)  # between a branch's BatchNorm and the sum
FEW = 16  # values of a channel in a batch, below which their variance says little


def branch_gammas(module: fx.GraphModule) -> set[str]:
    """Paths of the gammas of BatchNorms that end a branch of a sum; of two branches, the first."""
    found = set()
    for node in module.graph.nodes:
        if node.target is not REGISTRY["elemwise_add"].function:
            continue
        for end in node.args:
            while end.target in PASSES:
                end = end.args[0]
            if end.target in NORMALIZATIONS:
                found.add(end.args[1].target)
                break
    return found


class Calibrator(fx.Interpreter):
    """Sets every BatchNorm's moving statistics to those of what reaches it, a little off, as training leaves them.

    Gammas at the end of residual branches become `quiet` times as large. share: of that.
    """

    def __init__(self, module: fx.GraphModule, share: float = 1.0, seed: int = 0) -> None:
        super().__init__(module)
        self.rng = np.random.default_rng(seed)
        gammas = branch_gammas(module)
        self.quiet = round(share * QUIET * min(1, BRANCHES / max(1, len(gammas))), 2)
        for path in gammas:
            module.get_parameter(path).mul_(self.quiet)

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        if target in NORMALIZATIONS:
            self.calibrate(*args, axis=kwargs.get("axis", 1))
        elif target is sg_mkldnn_conv and kwargs.get("quantized"):
            fill_range(args, kwargs, self.calibrate, QUIET)
        return super().call_function(target, args, kwargs)

    def calibrate(self, data, gamma, beta, mean, variance, *, axis: int) -> None:
        maps = data.movedim(axis, 0).flatten(1)
        measured = torch.var_mean(maps, dim=1, correction=0)
        if maps.shape[1] < FEW:  # one shared spread of all channels
            measured = maps.var(correction=0).expand_as(variance), maps.mean().expand_as(mean)
        noise = torch.from_numpy(self.rng.uniform(0.8, 1.25, mean.shape).astype(np.float32))
        variance.copy_(measured[0] * noise + 1e-3 * measured[0].mean() + 1e-6)
        mean.copy_(measured[1] + 0.1 * (noise - 1) * measured[0].sqrt())


def calibrated(
    graph: Graph, arg: dict, aux: dict, inputs: dict[str, np.ndarray], share: float = 1.0
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], float]:
    """Weights with quiet residual branches, auxiliary states with realistic statistics, and how quiet the branches are."""
    module = convert(graph, Params({name: np.array(value) for name, value in arg.items()}, dict(aux)), inputs=inputs)
    names = input_names(module)
    order = [each.target for each in module.graph.nodes if each.op == "placeholder"]
    by_argument = {names[name]: torch.from_numpy(value) for name, value in inputs.items() if name in names}
    with torch.no_grad():
        calibrator = Calibrator(module, share)
        calibrator.run(*[by_argument.get(name) for name in order])
    paths = module.meta["mxnet"]["paths"]
    state = module.state_dict()
    arg, aux = (
        {name: state[paths[name]].numpy() if name in paths else value for name, value in group.items()}
        for group in (arg, aux)
    )
    return arg, aux, calibrator.quiet


@dataclass(frozen=True)
class Converted:
    """A model with made-up weights, and PyTorch's module of it. text: its symbol.json. inputs: by name."""

    module: fx.GraphModule
    text: str
    arg: dict[str, np.ndarray]
    aux: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]


def converted(name: str, seed: int, share: float = 1.0) -> tuple[dict[str, Any], Converted | None]:
    """The head of a model's row; and the model, or None where the row says why not."""
    from mxnet_ref.zoo import made_up, zoo_model

    row: dict[str, Any] = {"name": name}
    try:
        model = zoo_model(name)
    except Exception as error:
        return row | {"verdict": "not run", "why": f"GluonCV or MXNet: {first_line(error)}"}, None
    shapes = [list(shape) for shape in model.inputs.values()]
    row["input"] = shapes[0] if len(shapes) == 1 else shapes
    row |= {"smaller": model.smaller} if model.smaller else {}
    arg, aux = made_up(model, seed)
    graph = parse_symbol(model.text, name)
    row |= {"nodes": sum(graph.op_counts().values()), "operators": len(graph.op_counts())}
    row["op_names"] = sorted(graph.op_counts())
    inputs = random_inputs(model.inputs, seed)
    try:
        arg, aux, row["quiet"] = calibrated(graph, arg, aux, inputs, share)
        module = convert(graph, Params(dict(arg), dict(aux)), inputs=inputs)
    except Exception as error:
        return row | {"verdict": "not converted", "why": first_line(error)}, None
    return row, Converted(module, model.text, arg, aux, inputs)


def check(name: str, seed: int = 0) -> dict:
    """The row of one model: verdict holds, red, not converted or not run, with the reason, counts and errors.

    A red one is tried again with softer branches: rounding that grows shrinks with them below 1e-11, a mistake does not.
    """
    row = check_once(name, seed, 1.0)
    return check_once(name, seed, SOFTER) if row["verdict"] == "red" else row


def check_once(name: str, seed: int, share: float) -> dict:
    """As `check`, with so much of the branches."""
    row, model = converted(name, seed, share)
    if model is None:
        return row
    params = Params(dict(model.arg), dict(model.aux))
    try:
        module64 = convert(parse_symbol(in_float64(model.text), name), params, inputs=model.inputs)
    except Exception as error:
        return row | {"verdict": "not converted", "why": first_line(error)}
    try:
        table, note = live(model.module, model.text, model.arg, model.aux, model.inputs, module64=module64)
    except Exception as error:
        return row | {"verdict": "not run", "why": first_line(error)}
    return row | summary(table) | {"back": came_back(model)} | ({"note": note} if note else {})


def check_back(name: str, seed: int = 0) -> dict:
    """What a row says of the way back alone."""
    row, model = converted(name, seed)
    return {"name": name, "back": came_back(model) if model else row["why"]}


def came_back(model: Converted) -> str:
    """The way back: MXNet on the symbol.json and arrays that `to_symbol` writes, beside MXNet on the original ones."""
    from mxnet_ref.any_graph import head_outputs

    try:
        again, params = to_symbol(model.module)
        first = head_outputs(model.text, model.arg, model.aux, model.inputs)
        second = head_outputs(again, params.arg, params.aux, model.inputs)
    except Exception as error:
        return first_line(error)
    if all(np.array_equal(one, other, equal_nan=True) for one, other in zip(first, second, strict=True)):
        return "same bits"
    worst = max(float(np.abs(one.astype(np.float64) - other).max()) for one, other in zip(first, second, strict=True))
    return f"differs by {worst:.1e}"


def summary(table: Table) -> dict:
    red = [f"{row.node}: {row.claim}, got {row.got}, tolerance {row.tolerance}. {row.note}" for row in table.red]
    worst = table.worst(1)
    return {
        "verdict": "holds" if table.holds else "red",
        "why": "; ".join(red[:2])[:600],
        "judged": len(table.judged),
        "red": len(red),
        "reported": len(table) - len(table.judged),
        "worst_disagreement": table.worst_disagreement.get("of_scale"),
        "worst_strain": worst[0].strain if worst and np.isfinite(worst[0].strain) else None,
    }


def first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"[:400]
