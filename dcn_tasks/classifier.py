"""A small image classifier that both frameworks build: its geometry, its arrays by MXNet's names, their first values."""

from dataclasses import dataclass

import numpy as np

from dcn_tasks.errors import InputError
from dcn_tasks.initial import initial_value
from dcn_tasks.schedule import WarmupMultiFactor

KERNEL = 3
OFFSETS = 2 * KERNEL * KERNEL  # channels of an offset convolution: y, x of every tap, one offset group


@dataclass(frozen=True)
class ClassifierSpec:
    """Convolutions of 3x3 (padding 1, no bias), each with batch normalisation and ReLU; global average; one linear layer.

    Args:
        in_channels: of the images. widths: output channels of every convolution. strides: theirs, in pixels.
        deformable: places in `widths`, from 0, of deformable convolutions; each has a convolution of its own, of the same
            geometry, that predicts its offsets and is zero at first.
        num_classes: of the linear layer.
    Raises: InputError for lists that do not fit together.
    """

    in_channels: int
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    deformable: tuple[int, ...] = ()
    num_classes: int = 10

    def __post_init__(self):
        if len(self.widths) != len(self.strides) or not self.widths:
            raise InputError(f"classifier: expected a stride for every width, got {self.widths} and {self.strides}")
        if wrong := [place for place in self.deformable if place not in range(len(self.widths))]:
            raise InputError(f"classifier: deformable names layers 0 to {len(self.widths) - 1}, got {wrong[0]}")

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input channels of every convolution."""
        return (self.in_channels, *self.widths[:-1])

    def arg_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters by MXNet's names; layers count from 1."""
        shapes: dict[str, tuple[int, ...]] = {}
        for place, (channels, width) in enumerate(zip(self.inputs, self.widths, strict=True)):
            name = f"conv{place + 1}"
            if place in self.deformable:
                shapes[f"{name}_offset_weight"] = (OFFSETS, channels, KERNEL, KERNEL)
                shapes[f"{name}_offset_bias"] = (OFFSETS,)
            shapes[f"{name}_weight"] = (width, channels, KERNEL, KERNEL)
            shapes[f"bn_{name}_gamma"] = shapes[f"bn_{name}_beta"] = (width,)
        shapes["fc_weight"] = (self.num_classes, self.widths[-1])
        shapes["fc_bias"] = (self.num_classes,)
        return shapes

    def aux_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of batch normalisation's moving statistics by MXNet's names."""
        return {
            f"bn_conv{place}_moving_{statistic}": (width,)
            for place, width in enumerate(self.widths, 1)
            for statistic in ("mean", "var")
        }

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(int(np.prod(shape)) for shape in self.arg_shapes().values())

    def initial_arrays(self, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """(arg, aux) float32: MSRA's N(0, 2 / fan-in), offsets zero, normalisation the identity; one stream for every name."""
        arg = {name: initial_value(name, shape, seed) for name, shape in self.arg_shapes().items()}
        return arg, {name: initial_value(name, shape, seed) for name, shape in self.aux_shapes().items()}


@dataclass(frozen=True)
class ClassifierRecipe:
    """How both frameworks train it: stochastic gradient descent of the mean cross entropy.

    Args:
        batch_size: images of an update. epochs: passes over the training set. lr, momentum, weight_decay: of MXNet's SGD;
            no decay on biases and shifts. drops: shares of the training after which lr is multiplied by lr_factor.
        warmup_lr, warmup_updates: as WarmupMultiFactor.
    """

    batch_size: int
    epochs: float
    lr: float
    momentum: float
    weight_decay: float
    drops: tuple[float, ...]
    lr_factor: float
    warmup_lr: float
    warmup_updates: int

    def updates(self, images: int) -> int:
        """How many updates `epochs` passes over so many images are."""
        return int(self.epochs * (images // self.batch_size))

    def schedule(self, updates: int) -> WarmupMultiFactor:
        """The learning rate by update, from 1."""
        drops = [int(share * updates) for share in self.drops]
        return WarmupMultiFactor(self.lr, drops, self.lr_factor, True, self.warmup_lr, self.warmup_updates)
