"""Named cases of the deformable convolutions: what is special about the sampling positions, and the shapes."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """One call. offsets: how the positions are chosen, or the standard deviation in pixels."""

    offsets: str | float = 2.0
    batch: int = 1
    channels: int = 8
    out_channels: int = 6
    height: int = 7
    width: int = 9
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    offset_groups: int = 1
    bias: bool = True

    @property
    def out_size(self) -> tuple[int, int]:
        sides = zip((self.height, self.width), self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in sides)

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def geometry(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        return self.stride, self.padding, self.dilation

    def bases(self) -> np.ndarray:
        """Positions before the offset [2*G*K, OH, OW], y and x in turn, as in the offset tensor."""
        rows, columns = self.out_size
        result = np.empty((self.taps, 2, rows, columns))
        for tap in range(self.taps):
            i, j = divmod(tap, self.kernel[1])
            y = np.arange(rows) * self.stride[0] - self.padding[0] + i * self.dilation[0]
            x = np.arange(columns) * self.stride[1] - self.padding[1] + j * self.dilation[1]
            result[tap, 0], result[tap, 1] = y[:, None], x
        return np.tile(result.reshape(2 * self.taps, rows, columns), (self.offset_groups, 1, 1))

    def offset(self, rng: np.random.Generator) -> np.ndarray:
        """[N, 2*G*K, OH, OW] float32."""
        bases = self.bases()
        shape = (self.batch, *bases.shape)
        if isinstance(self.offsets, float):
            return (rng.standard_normal(shape) * self.offsets).astype(np.float32)
        if self.offsets == "smooth":  # fractions from 0.2 to 0.8: derivatives exist
            return (rng.integers(-2, 3, shape) + rng.uniform(0.2, 0.8, shape)).astype(np.float32)
        sizes = np.where(np.arange(bases.shape[0]) % 2 == 0, self.height, self.width)[:, None, None]
        pick = {
            # exactly on and a quarter pixel around -1, 0, size-1 and size
            "edges": np.float64([-1.25, -1, -0.75, -0.25, 0, 0.25]),
            "corners": np.float64([-1, 0]),
            "grid": np.float64([0, 1, 2, 3]),
        }[self.offsets]
        near = rng.choice(pick, shape)
        target = np.where(rng.random(shape) < 0.5, near, sizes - 1 - near)
        if self.offsets == "grid":
            target = near + np.minimum(rng.integers(0, 3, shape), sizes - 4)
        return (target - bases).astype(np.float32)

    def arrays(self, seed: int = 0) -> dict[str, np.ndarray | None]:
        """input, offset, mask, weight, bias and the gradient of the output, values exact in float32."""
        rng = np.random.default_rng(seed)

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(np.float32)

        rows, columns = self.out_size
        return dict(
            input=normal(self.batch, self.channels, self.height, self.width),
            offset=self.offset(rng),
            mask=rng.uniform(0, 2, (self.batch, self.offset_groups * self.taps, rows, columns)).astype(np.float32),
            weight=normal(self.out_channels, self.channels // self.groups, *self.kernel),
            bias=normal(self.out_channels) if self.bias else None,
            head=normal(self.batch, self.out_channels, rows, columns),
        )

    def same_cells(self, offset: np.ndarray) -> np.ndarray:
        """Float64 offsets whose positions are float32's sums exactly: both types fall into the same cells."""
        bases = self.bases()
        return (bases.astype(np.float32) + offset).astype(np.float64) - bases


RES5 = dict(height=38, width=63, padding=(2, 2), dilation=(2, 2), offset_groups=4, bias=False)
CASES = {
    "zero_offsets": Case(0.0),
    "grid_points": Case("grid"),
    "edges_of_the_map": Case("edges", channels=4, batch=2),
    "corners_of_the_map": Case("corners", channels=4, padding=(2, 2)),
    "offsets_1e-8": Case(1e-8),
    "offsets_1e-6": Case(1e-6, batch=2),
    "offsets_2_px": Case(2.0),
    "offsets_30_px": Case(30.0),
    "kernel_2x5": Case(kernel=(2, 5), padding=(0, 3)),
    "kernel_1x1_without_bias": Case(kernel=(1, 1), padding=(0, 0), bias=False),
    "stride_2_dilation_2": Case("edges", height=12, width=10, stride=(2, 2), padding=(2, 2), dilation=(2, 2)),
    "stride_1x2_dilation_2x1": Case(stride=(1, 2), padding=(2, 0), dilation=(2, 1)),
    "weight_groups_2": Case(groups=2),
    "offset_groups_4_batch_3": Case(offset_groups=4, out_channels=8, batch=3),
    "weight_groups_4_offset_groups_2": Case(channels=24, out_channels=20, groups=4, offset_groups=2, batch=2),
    "odd_channels": Case("edges", channels=7, out_channels=5, batch=2),
    "map_of_one_row": Case("edges", height=1, width=5),
    "res5_64_channels_2_px": Case(channels=64, out_channels=32, **RES5),
    "res5_96_channels_edges": Case("edges", channels=96, out_channels=40, **RES5),
    "res5_68_channels_zero_offsets": Case(0.0, channels=68, out_channels=24, **RES5),
}
SMALL = {name: case for name, case in CASES.items() if case.channels <= 8}
