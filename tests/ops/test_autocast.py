"""deform_conv2d under autocast: low precision for the arithmetic, float32 for positions."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from tolerances import LOW_PRECISION
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_port.layers import DeformConv2dPack, ModulatedDeformConv2dPack
from torch_port.ops import deform_conv2d, modulated_deform_conv2d
from torch_port.ops.autocast import CPU_TYPES

# torch loads some decompositions through torch.jit.script on first use, and warns about itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

SHAPES = {"input": (2, 8, 7, 9), "offset": (2, 36, 7, 9), "mask": (2, 18, 7, 9), "weight": (6, 8, 3, 3), "bias": (6,)}


def tensors(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}


def call(t: dict[str, Tensor]) -> Tensor:
    return modulated_deform_conv2d(t["input"], t["offset"], t["mask"], t["weight"], t["bias"], padding=1)


@contextmanager
def autocast(device: str, dtype: torch.dtype) -> Iterator[None]:
    """torch.autocast, which is off for a device that is not there."""
    before = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    torch.set_autocast_enabled(device, True)
    torch.set_autocast_dtype(device, dtype)
    try:
        yield
    finally:
        torch.set_autocast_enabled(device, before[0])
        torch.set_autocast_dtype(device, before[1])


class Seen(torch.utils._python_dispatch.TorchDispatchMode):
    """Records the types that deform_conv2d's kernel is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.types: list = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.dcn.deform_conv2d.default:
            self.types.append([a.dtype for a in args[:5]])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_on_cuda_map_and_weight_are_low_and_positions_are_float32(low: torch.dtype):
    """Fake tensors stand for a GPU's: this is the rule, not the kernel."""
    with FakeTensorMode(), Seen() as seen, autocast("cuda", low):
        output = call({name: torch.empty(shape, device="cuda") for name, shape in SHAPES.items()})
    assert output.dtype == low
    assert seen.types == [[low, torch.float32, torch.float32, low, low]]


def test_on_the_cpu_the_low_precision_is_taken_where_the_kernels_have_it():
    with Seen() as seen, autocast("cpu", torch.bfloat16):
        output = call(tensors())
    low = torch.bfloat16 if torch.bfloat16 in CPU_TYPES else torch.float32
    assert output.dtype == low
    assert seen.types == [[low, torch.float32, torch.float32, low, low]]


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_values_and_gradients_under_autocast_are_those_of_rounded_operands(given: torch.dtype):
    leaves = {name: t.requires_grad_() for name, t in tensors(given).items()}
    with autocast("cpu", torch.bfloat16):
        output = call(leaves)
    rounded = {n: t.detach().bfloat16().double() if n in ("input", "weight", "bias") else t.detach().double()
               for n, t in leaves.items()}  # fmt: skip
    wide = {name: t.requires_grad_() for name, t in rounded.items()}
    expected = call(wide)
    head = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    got = torch.autograd.grad(output, list(leaves.values()), head.to(output.dtype))
    truth = torch.autograd.grad(expected, list(wide.values()), head.double())
    for name, g, t in zip(("output", *SHAPES), (output, *got), (expected, *truth), strict=True):
        assert g.dtype == (output.dtype if name == "output" else given)
        assert (g.double() - t).abs().max() <= LOW_PRECISION["bfloat16"] * t.abs().max(), name


def test_float64_is_left_alone():
    t = tensors(torch.float64)
    with autocast("cpu", torch.bfloat16):
        assert torch.equal(call(t), call(t)) and call(t).dtype == torch.float64


def test_one_call_under_autocast_compiles_into_one_graph():
    t = tensors()
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: deform_conv2d(x, t["offset"], t["weight"], None, 1, 1), backend="aot_eager",
                             fullgraph=True)  # fmt: skip
    with torch.autocast("cpu", torch.bfloat16):
        got, expected = compiled(t["input"]), deform_conv2d(t["input"], t["offset"], t["weight"], None, 1, 1)
    assert got.dtype == expected.dtype and torch.equal(got, expected)


@pytest.mark.parametrize("layer", [DeformConv2dPack, ModulatedDeformConv2dPack])
def test_layers_train_under_autocast(layer):
    module = layer(8, 6, 3, padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        module(tensors()["input"]).float().square().mean().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad.dtype == torch.float32 and parameter.grad.abs().max() > 0, name


def test_fake_kernels_take_float32_positions_beside_a_bfloat16_map_and_nothing_else():
    with FakeTensorMode():
        t = {name: torch.empty(shape, dtype=torch.bfloat16) for name, shape in SHAPES.items()}
        t["offset"], t["mask"] = t["offset"].float(), t["mask"].float()
        assert call(t).dtype == torch.bfloat16
        wanted = (True,) * 5
        gradients = torch.ops.dcn.deform_conv2d_backward(
            call(t), *(t[n] for n in ("input", "offset", "mask", "weight")), [1, 1], [1, 1], [1, 1], "zeros", *wanted
        )
        assert [g.dtype for g in gradients] == [t[name].dtype for name in SHAPES]
        with pytest.raises(RuntimeError, match="offset: expected input's dtype bfloat16, got float64"):
            call({**t, "offset": t["offset"].double()})


LOW_ON_THE_CPU = pytest.mark.skipif(torch.bfloat16 not in CPU_TYPES, reason="this processor's kernels take no bfloat16")


def low_and_wide() -> tuple[list[Tensor], list[Tensor]]:
    """bfloat16 map and weight with float32 offsets, and the same numbers in float32."""
    t = tensors()
    low = [t["input"].bfloat16(), t["offset"], t["weight"].bfloat16()]
    return low, [v.float() for v in low]


def convolved(*t: Tensor) -> Tensor:
    return deform_conv2d(*t, None, 1, 1)


def assert_rounded(got: Tensor, expected: Tensor) -> None:
    assert (got.float() - expected).abs().max() <= LOW_PRECISION[
        "bfloat16"
    ] * expected.abs().max() and got.abs().max() > 0


@LOW_ON_THE_CPU
def test_forward_mode_in_low_precision_is_float32s_rounded():
    (value, tangent), (_, expected) = (
        torch.func.jvp(convolved, tuple(t), tuple(v.sin() for v in t)) for t in low_and_wide()
    )
    assert value.dtype == tangent.dtype == torch.bfloat16
    assert_rounded(tangent, expected)


@LOW_ON_THE_CPU
def test_second_derivatives_in_low_precision_are_float32s_rounded():
    results = []
    for given in low_and_wide():
        leaves = [t.clone().requires_grad_() for t in given]
        (first,) = torch.autograd.grad(convolved(*leaves).sum(), leaves[1], create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), leaves))
    for got, expected, given in zip(*results, low_and_wide()[0], strict=True):
        assert got.dtype == given.dtype
        assert_rounded(got, expected)
