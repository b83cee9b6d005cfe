"""Every operator under torch.compile(fullgraph=True), torch.export with dynamic N, H, W, and opcheck."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from torch_port import ops

# torch loads some decompositions through torch.jit.script on first use, and warns about itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

ROIS = torch.tensor([[0.0, 3, 5, 50, 61], [1, 20, 10, 90, 70], [0, -40, -40, 300, 300]])
SCALE = {"spatial_scale": 0.1, "pooled_size": 3}
PS = {**SCALE, "output_dim": 2, "group_size": 2}
PROPOSAL: dict[str, Any] = dict(
    feature_stride=16, scales=[1, 2, 4], ratios=[1.0], pre_nms_top_n=50, post_nms_top_n=10, nms_thresh=0.7, min_size=4
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Call:
    """A function of tensors: `example` are its arguments on a map of 7 x 9, `larger` on one of 12 x 10, 3 images."""

    function: Callable
    example: tuple[Tensor, ...]
    larger: tuple[Tensor, ...] = ()
    maps: tuple[bool, ...] = field(default=())  # which arguments have N, H, W to vary


def deform(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return ops.deform_conv2d(x, offset, weight, bias, 1, 1, 1)


def modulated(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    return ops.modulated_deform_conv2d(x, offset, mask, weight, None, 1, 1, 1)


def maps(*channels: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    small = tuple(normal(2, c, 7, 9, seed=i) for i, c in enumerate(channels))
    return small, tuple(normal(3, c, 12, 10, seed=i) for i, c in enumerate(channels))


def calls() -> dict[str, Call]:
    weight, bias, part = normal(6, 4, 3, 3, seed=8), normal(6, seed=9), normal(3, 4, 3, 3, seed=10)
    (x, offset, mask), (x2, offset2, mask2) = maps(8, 36, 18)
    (scores,), (scores2,) = maps(8)
    return {
        "deform_conv2d": Call(deform, (x, offset, weight, bias), (x2, offset2, weight, bias), (True, True, False, False)),
        "modulated_deform_conv2d": Call(
            modulated, (x, offset, mask, weight), (x2, offset2, mask2, weight), (True, True, True, False)
        ),
        "deform_psroi_pool": Call(
            lambda s, o: ops.deform_psroi_pool(s, ROIS, o, **PS, trans_std=0.1, sample_per_part=2),
            (scores, part), (scores2, part), (True, False)),
        "psroi_pool": Call(lambda s: ops.psroi_pool(s, ROIS, **PS), (scores,), (scores2,), (True,)),
        "roi_pool": Call(lambda s: ops.roi_pool(s, ROIS, **SCALE), (scores,), (scores2,), (True,)),
    }  # fmt: skip


CALLS = calls()
BOXES = torch.cat([50 * torch.rand(30, 2, generator=torch.Generator().manual_seed(1))] * 2, 1) + torch.tensor(
    [0.0, 0, 20, 20]
)
SCORES = torch.rand(30, generator=torch.Generator().manual_seed(2))
RPN = (torch.rand(2, 6, 5, 6, generator=torch.Generator().manual_seed(3)), 0.1 * normal(2, 12, 5, 6),
       torch.tensor([[80.0, 96, 1], [80, 96, 1]]))  # fmt: skip


def with_gradients(function: Callable, tensors: tuple[Tensor, ...]) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in tensors]
    output = function(*leaves)
    return [output.detach(), *torch.autograd.grad(output.square().sum(), leaves)]


def assert_equal(got: list[Tensor], expected: list[Tensor]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert all(t.abs().max() > 0 for t in expected)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", CALLS)
def test_compiles_into_one_graph_forward_and_backward(name: str, dynamic: bool):
    call = CALLS[name]
    torch._dynamo.reset()
    compiled = torch.compile(call.function, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    assert_equal(with_gradients(compiled, call.example), with_gradients(call.function, call.example))
    if dynamic:
        before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert_equal(with_gradients(compiled, call.larger), with_gradients(call.function, call.larger))
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before, "compiled once more for another size"


@pytest.mark.slow  # inductor builds C++: a minute
def test_inductor_compiles_deformable_convolution_between_its_neighbours():
    call = CALLS["modulated_deform_conv2d"]
    torch._dynamo.reset()

    def function(*t: Tensor) -> Tensor:
        return call.function(t[0].relu(), t[1] * 0.5, torch.sigmoid(t[2]), t[3]).tanh()

    got = with_gradients(torch.compile(function, fullgraph=True), call.example)
    torch.testing.assert_close(got, with_gradients(function, call.example))


@pytest.mark.parametrize("variant", ["cxx", "python"])
def test_proposal_compiles_into_one_graph(variant: str):
    def function(*t: Tensor) -> tuple[Tensor, ...]:
        return ops.proposal(*t, variant=variant, **PROPOSAL)

    torch._dynamo.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    torch.manual_seed(5)
    got = compiled(*RPN)
    torch.manual_seed(5)
    assert all(torch.equal(a, b) for a, b in zip(got, function(*RPN), strict=True))


def test_nms_whose_output_size_depends_on_the_boxes_compiles_into_one_graph():
    torch._dynamo.reset()
    compiled = torch.compile(lambda b, s: ops.nms(b, s, 0.5) + 1, backend="aot_eager", fullgraph=True)
    kept = ops.nms(BOXES, SCORES, 0.5)
    assert 1 < len(kept) < 30
    assert torch.equal(compiled(BOXES, SCORES), kept + 1)


class Module(torch.nn.Module):
    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Any:
        return self.function(*tensors)


@pytest.mark.parametrize("name", CALLS)
def test_exports_with_dynamic_batch_height_and_width(name: str):
    call = CALLS[name]
    auto = torch.export.Dim.DYNAMIC
    shapes = tuple({0: auto, 2: auto, 3: auto} if varies else None for varies in call.maps)
    exported = torch.export.export(Module(call.function), call.example, dynamic_shapes=(shapes,))
    assert f"torch.ops.dcn.{name.removeprefix('modulated_')}.default" in exported.graph_module.code
    assert torch.equal(exported.module()(*call.larger), call.function(*call.larger))


def test_proposal_exports_with_dynamic_height_and_width():
    auto = torch.export.Dim.DYNAMIC
    module = Module(lambda *t: ops.proposal(*t, variant="cxx", **PROPOSAL))
    exported = torch.export.export(module, RPN, dynamic_shapes=(({2: auto, 3: auto}, {2: auto, 3: auto}, None),))
    wider = (*(t.repeat(1, 1, 1, 2) for t in RPN[:2]), RPN[2])
    assert all(torch.equal(a, b) for a, b in zip(exported.module()(*wider), module(*wider), strict=True))


def test_opcheck_of_nms_and_proposal():
    """The other operators' opchecks stand beside their derivatives, in test_*_transforms.py."""
    torch.library.opcheck(torch.ops.dcn.nms.default, (BOXES, SCORES, 0.5))
    padding = torch.rand(2, 10, generator=torch.Generator().manual_seed(4))
    for cxx, given in ((False, padding), (True, None)):
        torch.library.opcheck(torch.ops.dcn.proposal.default, (*RPN, given), {**PROPOSAL, "cxx_rules": cxx})
