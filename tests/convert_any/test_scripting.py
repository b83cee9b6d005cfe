"""torch.jit.script of converted networks: compiled, saved, loaded, the same outputs; and what it refuses, by name."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dcn_tasks.errors import InputError
from tests.convert_any.cases import CASES
from tests.convert_any.small_graph import Builder, small_graph, small_params
from tests.convert_any.test_operators import one_node
from weights_convert import Params, convert, parse_symbol
from weights_convert.translate import operator
from weights_convert.translate.inference import for_inference
from weights_convert.translate.operators_page import UNSCRIPTABLE
from weights_convert.translate.registry import BY_FUNCTION, REGISTRY

pytestmark = [  # PyTorch's own words on its own classes
    pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings(
        "ignore:The TorchScript type system doesn't support instance-level annotations:UserWarning"
    ),
]
ROWS = json.loads(
    (Path(__file__).resolve().parents[2] / "benchmarks/results/zoo_conversion.json").read_text(encoding="utf-8")
)
# Families of the zoo whose networks decide nothing by their data.
OTHERS = ("ssd_", "yolo3_", "faster_", "mask_", "custom_", "center_net_")
SCRIPTED = [row["name"] for row in ROWS
            if row["verdict"] == "holds" and not row["name"].startswith(OTHERS) and not row["name"].endswith("_int8")]  # fmt: skip
QUICK = ("squeezenet1.1", "resnest14", "mobilenetv3_small")


def reloaded(module: torch.nn.Module) -> torch.jit.ScriptModule:
    """The network compiled, saved and loaded again."""
    memory = io.BytesIO()
    torch.jit.save(torch.jit.script(module), memory)
    memory.seek(0)
    return torch.jit.load(memory)


def same(one: object, other: object) -> None:
    firsts, seconds = (each if isinstance(each, tuple) else (each,) for each in (one, other))
    for first, second in zip(firsts, seconds, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)


def without_loss() -> tuple:
    graph = small_graph()
    last = next(place for place, node in enumerate(graph.nodes) if node.name == "fc_again")
    return type(graph)(graph.nodes, [type(graph.heads[0])(last, 0)], graph.version), small_params()


@pytest.mark.parametrize("sizes", [(3, 4, 6, 5), (1, 4, 9, 12)])
def test_scripted_network_gives_the_same_outputs_for_every_size(sizes):
    module = convert(small_graph(), small_params())
    data = torch.from_numpy(np.random.default_rng(2).standard_normal(sizes, dtype=np.float32))
    same(reloaded(module)(data=data), module(data=data))


def test_scripted_network_trains_as_the_module_does(data):
    module, twin = convert(*without_loss()).train(), convert(*without_loss()).train()
    scripted = torch.jit.script(twin)
    same(scripted(data=data), module(data=data))
    for name, each in module.named_buffers():
        same(dict(scripted.named_buffers())[name], each)
    same(scripted.eval()(data=data), module.eval()(data=data))


def test_fast_copy_is_scripted_too(data):
    fast = for_inference(convert(small_graph(), small_params()))
    with torch.no_grad():
        same(reloaded(fast)(data=data), fast(data=data))


TABLE = [(op, name) for op, cases in CASES.items() for name in cases if op not in UNSCRIPTABLE]


def scripted_outputs(op: str, name: str) -> None:
    text, inputs, aux = one_node(op, CASES[op][name])
    module = convert(parse_symbol(text), Params({}, dict(aux)), inputs=inputs)
    given = {key: torch.from_numpy(np.array(value)) for key, value in inputs.items()}
    scripted = torch.jit.script(module)
    taken = [each.name for each in scripted.forward.schema.arguments]  # a loss's label is not
    with torch.no_grad():
        same(scripted(**{key: value for key, value in given.items() if key in taken}), module(**given))


@pytest.mark.parametrize(("op", "name"), TABLE, ids=[f"{op}: {name}" for op, name in TABLE])
def test_scripted_operator_is_the_operator(op, name):
    scripted_outputs(op, name)


@pytest.mark.parametrize("op", sorted(UNSCRIPTABLE & CASES.keys()))
def test_operator_that_cannot_be_scripted_says_so(op):
    refused = 0
    for name in CASES[op]:
        try:
            scripted_outputs(op, name)
        except InputError as error:
            assert f"torch.jit.script: operator {REGISTRY[op].name}, node 'node'" in str(error)
            refused += 1
        except (RuntimeError, torch.jit.Error) as error:
            assert "expected floating-point numbers" in str(error)
            refused += 1
    assert refused, "all of its cases are scripted: take it out of UNSCRIPTABLE"


def test_whole_numbers_are_refused_where_a_scripted_network_needs_real_ones():
    net = Builder()
    net.call("_mul_scalar", "half", net.variable("data"), scalar=0.5)
    text = json.dumps({"nodes": net.nodes, "arg_nodes": [0], "heads": [[1, 0, 0]]})
    scripted = torch.jit.script(convert(parse_symbol(text), Params({}, {})))
    with pytest.raises(torch.jit.Error, match="expected floating-point numbers"):
        scripted(data=torch.arange(3))


def test_operator_from_outside_is_scripted_with_its_attributes():
    @operator("my_scripted_scale")
    def my_scripted_scale(
        data: torch.Tensor, *, factors: tuple[float, ...] = (1.0,), first: bool = True
    ) -> torch.Tensor:
        """data times the first or the last factor."""
        chosen = factors[0] if first else factors[-1]
        return data * chosen

    try:
        net = Builder()
        net.call("my_scripted_scale", "scaled", net.variable("data"), factors="(2.0, 3.0)", first=False)
        text = json.dumps({"nodes": net.nodes, "arg_nodes": [0], "heads": [[1, 0, 0]]})
        scripted = torch.jit.script(convert(parse_symbol(text), Params({}, {})))
    finally:
        del REGISTRY["my_scripted_scale"], BY_FUNCTION[my_scripted_scale]
    assert scripted(data=torch.ones(2)).tolist() == [3.0, 3.0]


@pytest.mark.mxnet
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SCRIPTED]
)
def test_network_of_the_zoo_is_scripted_saved_loaded_and_equal(name):
    pytest.importorskip("gluoncv", reason="gluoncv is not installed")
    from dcn_suite.parity.any_graph import random_inputs
    from mxnet_ref.zoo import made_up, zoo_model

    model = zoo_model(name)
    arrays = random_inputs(model.inputs)
    module = convert(parse_symbol(model.text), Params(*made_up(model)), inputs=arrays)
    given = {key: torch.from_numpy(value) for key, value in arrays.items()}
    with torch.no_grad():
        same(reloaded(module)(**given), module(**given))
