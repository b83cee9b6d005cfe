"""What gpu_time.py times: shapes, inputs, and every operator's forward and backward as a call on the i-th rotating input."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import conv2d

from torch_port.ops import deform_conv2d, deform_psroi_pool

ROTATED = 3  # sets of inputs, used in turn, so that no call finds its own data in the cache
Call = Callable[[int], object]


@dataclass(frozen=True)
class Convolution:
    """3 x 3, stride 1, padding = dilation, all tensors channels_last."""

    name: str
    images: int
    channels: int
    height: int
    width: int
    out_channels: int
    dilation: int
    offset_groups: int

    def shrunk(self) -> "Convolution":
        """The same kind of call in a thousandth of the time, for a dry run on a CPU."""
        return replace(self, images=min(self.images, 2), channels=32, height=6, width=7, out_channels=16)


CONVOLUTIONS = (
    Convolution("A: 8 x 512ch 38x63, dilation 2, 4 offset groups", 8, 512, 38, 63, 512, 2, 4),
    Convolution("C: 8 x 256ch 128x128", 8, 256, 128, 128, 256, 1, 1),
    Convolution("A1: 1 x 512ch 38x63, dilation 2, 4 offset groups", 1, 512, 38, 63, 512, 2, 4),
)
# name: type, whether float32 products may be rounded to TF32
PRECISIONS = {"bfloat16": (torch.bfloat16, False), "tf32": (torch.float32, True), "float32": (torch.float32, False)}


def torchvision_operator() -> Callable | None:
    try:
        from torchvision.ops import deform_conv2d as theirs
    except Exception as error:  # a torchvision of another PyTorch fails in many ways; the table says so
        print(f"torchvision: not timed: {error}", file=sys.stderr)
        return None
    return theirs


def set_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


class ConvolutionCalls:
    """Ours, cuDNN's dense convolution of the same shape, torchvision's operator; forward and all gradients."""

    def __init__(self, shape: Convolution, dtype: torch.dtype, device: str = "cuda", last: bool = True) -> None:
        """last: tensors are channels_last; torchvision's kernel is fastest on contiguous ones, which it copies others to."""
        self.shape, self.dtype, self.device = shape, dtype, device
        self.layout = torch.channels_last if last else torch.contiguous_format
        self.space = {"padding": shape.dilation, "dilation": shape.dilation}
        self.sets = [self._inputs() for _ in range(ROTATED)]

    def _inputs(self) -> dict[str, torch.Tensor]:
        s = self.shape

        def normal(*sizes: int, scale: float = 1.0) -> torch.Tensor:
            made = (scale * torch.randn(sizes, device=self.device)).to(self.dtype)
            return made.contiguous(memory_format=self.layout)

        return {
            "input": normal(s.images, s.channels, s.height, s.width).requires_grad_(),
            "offset": normal(s.images, 18 * s.offset_groups, s.height, s.width, scale=2).contiguous().requires_grad_(),
            "weight": normal(s.out_channels, s.channels, 3, 3, scale=0.02).requires_grad_(),
            "head": normal(s.images, s.out_channels, s.height, s.width),
        }

    def dense(self, i: int) -> torch.Tensor:
        return conv2d(self.sets[i]["input"], self.sets[i]["weight"], **self.space)

    def ours(self, i: int) -> torch.Tensor:
        return deform_conv2d(self.sets[i]["input"], self.sets[i]["offset"], self.sets[i]["weight"], **self.space)

    def torchvision(self, theirs: Callable) -> Call:
        return lambda i: theirs(self.sets[i]["input"], self.sets[i]["offset"], self.sets[i]["weight"], **self.space)

    def backward(self, call: Call, leaves: tuple[str, ...]) -> Call:
        """Of outputs made beforehand: the time of the backward pass alone."""
        outputs = [call(i) for i in range(ROTATED)]
        asked = [[inputs[name] for name in leaves] for inputs in self.sets]
        heads = [inputs["head"] for inputs in self.sets]
        return lambda i: torch.autograd.grad(outputs[i], asked[i], heads[i], retain_graph=True)

    def products_only(self) -> Call:
        """The multiplication without the gather: the floor of any design with this library's matrix product."""
        s = self.shape
        rows = torch.randn(s.images * s.height * s.width, 9 * s.channels, device=self.device, dtype=self.dtype)
        columns = torch.randn(9 * s.channels, s.out_channels, device=self.device, dtype=self.dtype)
        return lambda i: rows @ columns


class PoolingCalls:
    """R-FCN's last step: 7 x 7 bins of [2, classes * 49, 38, 63], 300 RoIs, offsets of every class."""

    def __init__(self, classes: int, device: str = "cuda", rois: int = 300) -> None:
        generator = torch.Generator().manual_seed(1)
        corner = torch.rand(rois, 2, generator=generator) * torch.tensor([700.0, 350.0])
        side = 30 + 250 * torch.rand(rois, 2, generator=generator)
        image = torch.randint(0, 2, (rois, 1), generator=generator).float()
        self.rois = torch.cat([image, corner, corner + side], 1).to(device)
        self.maps = torch.randn(2, classes * 49, 38, 63, device=device).requires_grad_()
        self.offset = torch.randn(rois, 2 * classes, 7, 7, device=device).requires_grad_()
        self.settings = dict(spatial_scale=1 / 16, output_dim=classes, group_size=7, pooled_size=7, sample_per_part=4,
                             trans_std=0.1)  # fmt: skip
        self.head = torch.randn(rois, classes, 7, 7, device=device)

    def forward(self, _: int = 0) -> torch.Tensor:
        return deform_psroi_pool(self.maps, self.rois, self.offset, **self.settings)

    def both(self, _: int = 0) -> object:
        return torch.autograd.grad(self.forward(), (self.maps, self.offset), self.head)
