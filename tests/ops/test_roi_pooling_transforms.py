"""psroi_pool and roi_pool under autograd, torch.func, torch.compile and opcheck."""

from collections.abc import Callable

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from torch_port.ops import deform_psroi_pool, psroi_pool, roi_pool

# torch loads its forward-mode decompositions through torch.jit.script on first use, and warns about itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

ROIS = torch.tensor(
    [[0, 3.0, 5, 50, 61], [1, 20, 10, 90, 70], [0, -40, -40, 300, 300], [1, 10, 10, 10, 10]], dtype=torch.float64
)
PSROI = dict(spatial_scale=0.1, output_dim=2, group_size=2, pooled_size=3)
ROI = dict(spatial_scale=0.1, pooled_size=[2, 3])
OPERATORS = {
    "psroi_pool": lambda input: torch.ops.dcn.psroi_pool(input, ROIS, **PSROI),
    "roi_pool": lambda input: torch.ops.dcn.roi_pool(input, ROIS, **ROI),
}


@pytest.fixture
def input() -> torch.Tensor:
    return torch.randn(2, 8, 7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def leaf(t: torch.Tensor) -> torch.Tensor:
    return t.detach().clone().requires_grad_()


def cube(operator: Callable) -> Callable:
    return lambda input: operator(input).pow(3).sum()


@pytest.mark.parametrize("name", OPERATORS)
def test_first_and_second_derivatives(name: str, input):
    operator = OPERATORS[name]
    assert gradcheck(operator, (leaf(input),), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(lambda a: operator(a).square(), (leaf(input),), fast_mode=True)


@pytest.mark.parametrize("name", OPERATORS)
def test_vmap_of_grad_and_grad_of_vmap(name: str, input):
    operator = OPERATORS[name]
    inputs = torch.stack([input, 2 * input, input + 1])
    each = torch.vmap(torch.func.grad(cube(operator)))(inputs)
    leaves = leaf(inputs)
    torch.vmap(operator)(leaves).pow(3).sum().backward()
    torch.testing.assert_close(each, leaves.grad)
    assert each.abs().max() > 0


@pytest.mark.parametrize("name", OPERATORS)
def test_hessian_agrees_however_it_is_nested(name: str, input):
    small, loss = input[:, :, :2, :3].contiguous(), cube(OPERATORS[name])
    point, direction = leaf(small), torch.ones_like(small)
    (gradient,) = torch.autograd.grad(loss(point), point, create_graph=True)
    (truth,) = torch.autograd.grad(gradient, point, direction)
    for hessian in (torch.func.hessian(loss)(small), torch.func.jacrev(torch.func.jacrev(loss))(small)):
        torch.testing.assert_close((hessian * direction).sum((-1, -2, -3, -4)), truth)
    assert truth.abs().max() > 0


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_opcheck(input, memory_format: torch.memory_format):
    x = input.to(memory_format=memory_format).requires_grad_()
    torch.library.opcheck(torch.ops.dcn.psroi_pool.default, (x, ROIS), PSROI)
    torch.library.opcheck(torch.ops.dcn.roi_pool.default, (x, ROIS), ROI)
    torch.library.opcheck(torch.ops.dcn.roi_pool_with_argmax.default, (x, ROIS), ROI)
    head = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.dcn.psroi_pool_backward.default, (head, input, ROIS), PSROI)
    _, argmax = torch.ops.dcn.roi_pool_with_argmax(input, ROIS, **ROI)
    head = torch.randn(4, 8, 2, 3, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.dcn.roi_pool_backward.default, (head, input, ROIS, argmax))


def test_compiles_into_one_graph(input):
    def loss(a: torch.Tensor) -> torch.Tensor:
        return psroi_pool(a, ROIS, **PSROI).square().sum() + roi_pool(a, ROIS, **ROI).square().sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    a = leaf(input)
    (expected,) = torch.autograd.grad(loss(a), a)
    (got,) = torch.autograd.grad(compiled(a), a)
    assert torch.equal(got, expected)


def test_under_autocast_pooling_is_in_float32(input):
    """RoI corners in bfloat16 would be off by pixels: 61 and 61.3 are the same number there."""
    rois, low = ROIS.float(), input.to(torch.bfloat16).requires_grad_()
    calls = [
        lambda x: psroi_pool(x, rois, **PSROI),
        lambda x: roi_pool(x, rois, **ROI),
        lambda x: deform_psroi_pool(x, rois, torch.full((4, 2, 3, 3), 0.25, dtype=x.dtype), **PSROI, trans_std=0.1),
    ]
    for call in calls:
        with torch.autocast("cpu", torch.bfloat16):
            output = call(low)
        assert output.dtype == torch.float32
        wide = low.detach().float().requires_grad_()
        (gradient,), (expected,) = torch.autograd.grad(output.sum(), low), torch.autograd.grad(call(wide).sum(), wide)
        assert gradient.dtype == torch.bfloat16
        assert torch.equal(gradient, expected.to(torch.bfloat16))


def test_half_precision_without_autocast_is_refused_on_the_cpu(input):
    with pytest.raises(RuntimeError, match="psroi_pool: input: expected float32 or float64 on the CPU, got bfloat16"):
        psroi_pool(input.to(torch.bfloat16), ROIS.to(torch.bfloat16), **PSROI)
