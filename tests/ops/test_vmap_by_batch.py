"""vmap of deform_conv2d: all slices in one call of the kernel wherever the weight is shared."""

import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION
from torch import Tensor

from torch_port.ops import modulated_deform_conv2d

SHAPES = {"input": (2, 4, 5, 6), "offset": (2, 36, 5, 6), "mask": (2, 18, 5, 6), "weight": (6, 4, 3, 3), "bias": (6,)}


class Calls(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "dcn":
            self.names.append(function.name().removeprefix("dcn::"))
        return function(*args, **(kwargs or {}))


def call(*t: Tensor) -> Tensor:
    return modulated_deform_conv2d(*t, padding=1)


def arguments(mapped: tuple[str, ...], slices: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn((slices, *shape) if name in mapped else shape, dtype=torch.float64, generator=generator)
        for name, shape in SHAPES.items()
    ]


def dims(mapped: tuple[str, ...]) -> tuple[int | None, ...]:
    return tuple(0 if name in mapped else None for name in SHAPES)


def by_hand(function, mapped: tuple[str, ...], tensors: list[Tensor], slices: int = 3) -> Tensor:
    axes = dims(mapped)
    return torch.stack(
        [function(*(t if d is None else t[i] for t, d in zip(tensors, axes, strict=True))) for i in range(slices)]
    )


def same(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape and expected.abs().max() > 0
    torch.testing.assert_close(got, expected, rtol=FLOAT64_SAME_FUNCTION, atol=FLOAT64_SAME_FUNCTION)


@pytest.mark.parametrize(
    "mapped, calls",
    [
        (("input",), 1),
        (("offset", "mask"), 1),
        (("input", "offset", "mask"), 1),
        (("weight",), 3),
        (("input", "bias"), 3),
    ],
)
def test_number_of_calls_and_values(mapped: tuple[str, ...], calls: int):
    tensors = arguments(mapped)
    with Calls() as seen:
        got = torch.vmap(call, in_dims=dims(mapped))(*tensors)
    assert seen.names == ["deform_conv2d"] * calls
    same(got, by_hand(call, mapped, tensors))


@pytest.mark.parametrize("argument", range(4), ids=list(SHAPES)[:4])
def test_gradient_of_each_slice(argument: int):
    mapped = ("input", "offset")
    tensors = arguments(mapped)
    gradient = torch.func.grad(lambda *t: call(*t).square().sum(), argnums=argument)
    same(torch.vmap(gradient, in_dims=dims(mapped))(*tensors), by_hand(gradient, mapped, tensors))


@pytest.mark.parametrize("wanted, calls", [("input", 1), ("offset", 1), ("mask", 1), ("weight", 3), ("bias", 3)])
def test_number_of_backward_calls(wanted: str, calls: int):
    """The weight's gradient is a sum over images, so it takes a backward call per slice."""
    input, offset, mask, weight, _ = arguments(("offset",))
    head = torch.ones(2, 6, 5, 6, dtype=torch.float64)
    flags = [name == wanted for name in SHAPES]

    def backward(o: Tensor) -> Tensor:
        results = torch.ops.dcn.deform_conv2d_backward(
            head, input, o, mask, weight, [1, 1], [1, 1], [1, 1], "zeros", *flags
        )
        assert [r.numel() > 0 for r in results] == flags
        return results[flags.index(True)]

    with Calls() as seen:
        got = torch.vmap(backward)(offset)
    assert seen.names == ["deform_conv2d_backward"] * calls
    same(got, torch.stack([backward(o) for o in offset]))


def test_mapped_axis_may_be_any():
    tensors = arguments(("input",))
    tensors[0] = tensors[0].movedim(0, 2).contiguous()
    got = torch.vmap(call, in_dims=(2, None, None, None, None))(*tensors)
    tensors[0] = tensors[0].movedim(2, 0)
    same(got, by_hand(call, ("input",), tensors))


def test_empty_images_stay_empty():
    tensors = [t[:, :0] if name == "input" else t for name, t in zip(SHAPES, arguments(("input",)), strict=True)]
    tensors[1], tensors[2] = tensors[1][:0], tensors[2][:0]
    assert torch.vmap(call, in_dims=dims(("input",)))(*tensors).shape == (3, 0, 6, 5, 6)
