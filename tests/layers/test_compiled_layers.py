"""Layers, and the backbone of a narrow network with its deformable units, under torch.compile and torch.export."""

import pytest
import torch
from torch import Tensor, nn

from dcn_tasks.config import load_config
from torch_port.layers import DeformConv2dPack, DeformPSRoIPool, ModulatedDeformConv2dPack
from torch_port.models import build_network

DYNAMIC = {axis: torch.export.Dim.DYNAMIC for axis in (0, 2, 3)}


def image(images: int = 2, height: int = 64, width: int = 80, channels: int = 3) -> Tensor:
    return torch.randn(images, channels, height, width, generator=torch.Generator().manual_seed(1))


class Stages(nn.Module):
    """The backbone's maps as one tuple; its offset convolutions are not zero."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        network = build_network(load_config("demo/narrow_rfcn_dcn", network__UNITS=[1, 1, 1, 1])).eval()
        self.backbone = network.backbone
        for name, parameter in self.named_parameters():
            if "offset_conv" in name:
                nn.init.normal_(parameter, std=0.05)

    def forward(self, data: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(data))


class Layers(nn.Module):
    """The layers that predict their own offsets, one after the other, and a pooling."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = DeformConv2dPack(3, 8, 3, padding=1)
        self.second = ModulatedDeformConv2dPack(8, 8, 3, padding=1, offset_groups=2)
        self.pool = DeformPSRoIPool(2, spatial_scale=0.5, group_size=2, pooled_size=2)
        for layer in (self.first, self.second):
            nn.init.normal_(layer.offset_conv.weight, std=0.1)

    def forward(self, data: Tensor) -> tuple[Tensor, ...]:
        maps = self.second(self.first(data).relu())
        rois = data.new_tensor([[0.0, 3, 5, 15, 20], [1, 2, 1, 18, 12]])
        return maps, self.pool(maps, rois)


def gradients(module: nn.Module, data: Tensor) -> list[Tensor]:
    module.zero_grad()
    outputs = module(data)
    sum(output.square().mean() for output in outputs).backward()
    return [*(o.detach() for o in outputs), *(p.grad.clone() for p in module.parameters() if p.grad is not None)]


def assert_compiles(module: nn.Module, inputs: list[Tensor], dynamic: bool | None) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    for data in inputs:
        expected = gradients(module, data)
        torch.testing.assert_close(gradients(compiled, data), expected)
        assert any("offset_conv" in name and p.grad.abs().max() > 0 for name, p in module.named_parameters())


def test_layers_compile_into_one_graph_for_every_size():
    assert_compiles(Layers(), [image(2, 12, 14), image(3, 9, 16)], dynamic=True)


def test_backbone_compiles_into_one_graph():
    assert_compiles(Stages(), [image()], dynamic=None)


@pytest.mark.slow  # the solver of size inequalities takes half a minute over the ceil-mode pooling
def test_backbone_compiles_into_one_graph_for_every_size():
    assert_compiles(Stages(), [image(), image(2, 96, 64)], dynamic=True)


@pytest.mark.parametrize("module", [Layers, Stages])
def test_exports_with_dynamic_batch_height_and_width(module):
    module = module()
    exported = torch.export.export(module, (image(),), dynamic_shapes=(DYNAMIC,))
    other = image(3, 96, 64)
    for got, expected in zip(exported.module()(other), module(other), strict=True):
        torch.testing.assert_close(got, expected)
