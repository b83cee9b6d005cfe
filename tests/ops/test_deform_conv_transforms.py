"""Derivatives and transforms of the deformable convolutions, also through torch.ops.dcn."""

import pytest
import torch
from deform_conv_cases import Case
from tolerances import FLOAT64_SAME_FUNCTION
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.overrides import TorchFunctionMode

from torch_port.ops import deform_conv2d

CASE = Case("smooth", batch=2, channels=4, out_channels=4, height=6, width=5, kernel=(3, 2), stride=(2, 1),
            padding=(1, 0), dilation=(1, 2), groups=2, offset_groups=2)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
BORDERS = pytest.mark.parametrize("border", ["clamp", "zeros"])
MASKED = pytest.mark.parametrize("masked", [True, False], ids=["modulated", "plain"])
NAMES = ("input", "offset", "mask", "weight", "bias")


def arguments(masked: bool) -> list[Tensor | None]:
    arrays = CASE.arrays()
    given = [torch.tensor(arrays[name], dtype=torch.float64, requires_grad=True) for name in NAMES]
    return [t if masked or name != "mask" else None for name, t in zip(NAMES, given, strict=True)]


def call(border: str):
    return lambda *tensors: torch.ops.dcn.deform_conv2d(*tensors, *CASE.geometry, border)


def loss(border: str):
    return lambda *tensors: call(border)(*tensors).pow(2).sum()


@BORDERS
@MASKED
def test_first_and_second_derivatives(border, masked):
    tensors = arguments(masked)
    assert gradcheck(call(border), tensors, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(call(border), tensors, fast_mode=True)


@BORDERS
@MASKED
def test_jvp_is_the_transpose_of_vjp(border, masked):
    tensors = [t for t in arguments(masked) if t is not None]
    generator = torch.Generator().manual_seed(1)
    directions = [torch.randn(t.shape, dtype=t.dtype, generator=generator) for t in tensors]

    def function(*given: Tensor) -> Tensor:
        return call(border)(*(given if masked else (*given[:2], None, *given[2:])))

    output, tangent = torch.func.jvp(function, tuple(tensors), tuple(directions))
    head = torch.randn(output.shape, dtype=output.dtype, generator=generator)
    pulled = torch.func.vjp(function, *tensors)[1](head)
    expected = sum((a * b).sum() for a, b in zip(pulled, directions, strict=True))
    assert tangent.abs().max() > 0
    torch.testing.assert_close((tangent * head).sum(), expected, rtol=FLOAT64_SAME_FUNCTION, atol=0)


@MASKED
def test_vmap_is_a_stack_of_calls(masked):
    tensors = [None if t is None else t.detach() for t in arguments(masked)]
    inputs = torch.stack([tensors[0], tensors[0].flip(2)])
    mapped = torch.func.vmap(lambda x: call("clamp")(x, *tensors[1:]))(inputs)
    assert torch.equal(mapped, torch.stack([call("clamp")(x, *tensors[1:]) for x in inputs]))
    grads = torch.func.vmap(torch.func.grad(lambda x: loss("clamp")(x, *tensors[1:])))(inputs)
    single = [torch.func.grad(lambda x: loss("clamp")(x, *tensors[1:]))(x) for x in inputs]
    torch.testing.assert_close(grads, torch.stack(single), rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)


def test_jacobians_of_both_modes_agree():
    tensors = [t.detach() for t in arguments(True)]
    small = [tensors[0][:1], tensors[1][:1], tensors[2][:1], *tensors[3:]]

    def of_bias_and_mask(mask: Tensor, bias: Tensor) -> Tensor:
        return call("zeros")(small[0], small[1], mask, small[3], bias)

    reverse = torch.func.jacrev(of_bias_and_mask, (0, 1))(small[2], small[4])
    forward = torch.func.jacfwd(of_bias_and_mask, (0, 1))(small[2], small[4])
    torch.testing.assert_close(reverse, forward, rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)


QUICK_CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")


@MASKED
def test_opcheck(masked):
    tensors = arguments(masked)
    torch.library.opcheck(
        torch.ops.dcn.deform_conv2d.default, (*tensors, *CASE.geometry, "clamp"), test_utils=QUICK_CHECKS
    )
    head = torch.randn(call("clamp")(*tensors).shape, dtype=torch.float64)
    wanted = (True, True, masked, False, True)
    torch.library.opcheck(
        torch.ops.dcn.deform_conv2d_backward.default,
        (head, *tensors[:4], *CASE.geometry, "clamp", *wanted),
        test_utils=QUICK_CHECKS,
    )


@pytest.mark.slow  # traces and compiles: minutes on a busy machine
@BORDERS
@MASKED
def test_opcheck_ahead_of_time(border, masked):
    arguments_ = (*arguments(masked), *CASE.geometry, border)
    torch.library.opcheck(torch.ops.dcn.deform_conv2d.default, arguments_, test_utils="test_aot_dispatch_dynamic")


def test_fake_tensors_keep_format_and_shape():
    tensors = [t.detach() for t in arguments(True)]
    tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
    real = call("clamp")(*tensors)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=False) as mode:
        fake = call("clamp")(*(mode.from_tensor(t) for t in tensors))
    assert (fake.shape, fake.stride(), fake.dtype) == (real.shape, real.stride(), real.dtype)


def by_python_function(input: Tensor) -> Tensor:
    """Of its arguments only `input` can be followed by a transform."""
    offset, weight = (t.detach() for t in (arguments(False)[1], arguments(False)[3]))
    return deform_conv2d(input, offset, weight, None, *CASE.geometry)


def by_operator(input: Tensor) -> Tensor:
    offset, weight = (t.detach() for t in (arguments(False)[1], arguments(False)[3]))
    return torch.ops.dcn.deform_conv2d(input, offset, None, weight, None, *CASE.geometry, "clamp")


def dual_tangent(function, input: Tensor) -> Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(input, torch.ones_like(input)))).tangent


FOLLOWED = {
    "grad": lambda f, x: torch.func.grad(lambda t: f(t).sum())(x),
    "grad of vmap": lambda f, x: torch.func.grad(lambda t: torch.vmap(f)(t.expand(2, *t.shape)).sum())(x),
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
    "dual tensor": dual_tangent,
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_the_python_function_takes_no_short_cut_past_a_transform(name):
    input = arguments(False)[0].detach()
    expected, got = (FOLLOWED[name](f, input) for f in (by_operator, by_python_function))
    assert expected.abs().max() > 0
    assert torch.equal(got, expected)


class Differentiating(TorchFunctionMode):
    """Asks in the midst of every call whether autograd records."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunction():
            self.records = torch.ones(1, requires_grad=True).mul(2).requires_grad
        return function(*args, **(kwargs or {}))


def test_the_python_function_takes_no_short_cut_past_a_mode():
    with Differentiating() as mode:
        by_python_function(arguments(False)[0].detach())
    assert mode.records
