"""deform_psroi_pool under autograd, torch.func, torch.compile and opcheck."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from torch_port.ops.deform_psroi_pool import deform_psroi_pool

# torch loads its forward-mode decompositions through torch.jit.script on first use, and warns about itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

PARAMETERS = dict(
    spatial_scale=0.1, output_dim=4, group_size=2, pooled_size=3, part_size=2, sample_per_part=3, trans_std=0.1
)
ROIS = [[0, 3.0, 5, 50, 61], [1, 20, 10, 90, 70], [0, -40, -40, 300, 300], [1, 10, 10, 10, 10]]


@pytest.fixture
def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(2, 16, 7, 9, dtype=torch.float64, generator=generator)
    offset = torch.randn(4, 4, 2, 2, dtype=torch.float64, generator=generator)
    return input, torch.tensor(ROIS, dtype=torch.float64), offset


def leaf(t: torch.Tensor) -> torch.Tensor:
    return t.detach().clone().requires_grad_()


def operator(input: torch.Tensor, rois: torch.Tensor, offset: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.dcn.deform_psroi_pool(input, rois, offset, **PARAMETERS)


def test_gradients_backwards_and_forwards(tensors):
    input, rois, offset = tensors
    assert gradcheck(
        lambda a, b: operator(a, rois, b), (leaf(input), leaf(offset)), check_forward_ad=True, fast_mode=True
    )
    assert gradcheck(lambda a: operator(a, rois, None), (leaf(input),), check_forward_ad=True, fast_mode=True)


def test_second_derivatives(tensors):
    input, rois, offset = tensors
    small = input[:, :, :4, :5].contiguous()
    assert gradgradcheck(lambda a, b: operator(a, rois, b), (leaf(small), leaf(offset)), fast_mode=True)
    assert gradgradcheck(lambda a: operator(a, rois, None), (leaf(small),), fast_mode=True)


def test_vmap_is_a_loop_over_slices(tensors):
    input, rois, offset = tensors
    inputs = torch.stack([input, 2 * input, input + 1])
    together = torch.vmap(lambda a: operator(a, rois, offset))(inputs)
    assert all(torch.equal(t, operator(a, rois, offset)) for t, a in zip(together, inputs, strict=True))


def test_vmap_of_grad_and_grad_of_vmap(tensors):
    input, rois, offset = tensors
    inputs = torch.stack([input, 2 * input, input + 1])

    def loss(a: torch.Tensor) -> torch.Tensor:
        return operator(a, rois, offset).square().sum()

    each = torch.vmap(torch.func.grad(loss))(inputs)
    leaves = leaf(inputs)
    torch.vmap(lambda a: operator(a, rois, offset))(leaves).square().sum().backward()
    torch.testing.assert_close(each, leaves.grad)
    assert each.abs().max() > 0


def test_jacobians_backwards_and_forwards_agree(tensors):
    input, rois, offset = tensors
    backwards = torch.func.jacrev(lambda o: operator(input, rois, o))(offset)
    forwards = torch.func.jacfwd(lambda o: operator(input, rois, o))(offset)
    torch.testing.assert_close(backwards, forwards)
    assert backwards.abs().max() > 0


def test_hessian_agrees_however_it_is_nested(tensors):
    input, rois, offset = tensors
    small = offset[:2, :2]

    def loss(o: torch.Tensor) -> torch.Tensor:
        return operator(input, rois[:2], o).square().sum()

    point, direction = leaf(small), torch.ones_like(small)
    (gradient,) = torch.autograd.grad(loss(point), point, create_graph=True)
    (truth,) = torch.autograd.grad(gradient, point, direction)
    for hessian in (torch.func.hessian(loss)(small), torch.func.jacrev(torch.func.jacrev(loss))(small)):
        torch.testing.assert_close((hessian * direction).sum((-1, -2, -3, -4)), truth)
    assert truth.abs().max() > 0


def test_plain_autograd_records_through_func_grad(tensors):
    input, rois, offset = tensors
    outer = leaf(offset)
    torch.func.grad(lambda a: operator(a, rois, outer).square().sum())(input).square().sum().backward()
    a, o = leaf(input), leaf(offset)
    (inner,) = torch.autograd.grad(operator(a, rois, o).square().sum(), a, create_graph=True)
    inner.square().sum().backward()
    torch.testing.assert_close(outer.grad, o.grad)


def test_forward_mode_value_is_the_kernels(tensors):
    input, rois, offset = tensors
    value, tangent = torch.func.jvp(lambda a: operator(a, rois, offset), (input,), (torch.ones_like(input),))
    torch.testing.assert_close(value, operator(input, rois, offset))
    assert tangent.abs().max() > 0


@pytest.mark.parametrize("with_offset", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_opcheck(tensors, with_offset: bool, memory_format: torch.memory_format):
    input, rois, offset = tensors
    input = input.to(memory_format=memory_format).requires_grad_()
    offset = offset.requires_grad_() if with_offset else None
    torch.library.opcheck(torch.ops.dcn.deform_psroi_pool.default, (input, rois, offset), PARAMETERS)
    head = torch.randn(4, 4, 3, 3, dtype=torch.float64)
    torch.library.opcheck(torch.ops.dcn.deform_psroi_pool_backward.default, (head, input, rois, offset), PARAMETERS)
    for wanted in ({"want_input": False}, {"want_offset": False}):
        given = (head, input, rois, offset), {**PARAMETERS, **wanted}
        torch.library.opcheck(torch.ops.dcn.deform_psroi_pool_backward.default, *given, test_utils="test_faketensor")


def test_compiles_into_one_graph(tensors):
    input, rois, offset = tensors

    def loss(a: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
        return deform_psroi_pool(a, rois, o, **PARAMETERS).square().sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    expected = torch.autograd.grad(loss(a := leaf(input), o := leaf(offset)), (a, o))
    got = torch.autograd.grad(compiled(a, o), (a, o))
    assert all(torch.equal(x, y) for x, y in zip(got, expected, strict=True))
