"""Records tests/cuda/golden.npz with MXNet 1.9.1 on the CPU: python tests/cuda/make_golden.py

Run it where MXNet is installed; the file then lets any machine, a GPU machine above all, check against MXNet without it.
Gradients of the modulated convolution come from the float64 loops of tests/ops/reference.py, since MXNet's CPU build has
none; suppression and the Python proposals from dcn_tasks. Each case says so in `witness`.
"""

import platform
import sys
from functools import partial
from pathlib import Path

import mxnet as mx
import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "ops")]

import golden  # noqa: E402
from deform_conv_cases import Case as ConvCase  # noqa: E402
from golden import Case  # noqa: E402
from reference import loops  # noqa: E402

from dcn_tasks.nms import nms  # noqa: E402
from dcn_tasks.proposals import propose  # noqa: E402
from dcn_tasks.streams import Draws  # noqa: E402

RNG = np.random.default_rng(2017)


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers in steps of 1/256 of their scale: such a file is small."""
    return np.float32(scale) * (np.round(RNG.standard_normal(shape) * 256) / 256).astype(np.float32)


def mxnet_results(call, inputs: dict[str, np.ndarray], wanted: tuple[str, ...], dtype: str) -> dict[str, np.ndarray]:
    """call(**inputs) and the gradients of `wanted` for inputs["head"]."""
    arrays = {name: mx.nd.array(value, dtype=dtype) for name, value in inputs.items() if name != "head"}
    for name in wanted:
        arrays[name].attach_grad()
    with mx.autograd.record(train_mode=bool(wanted)):
        output = call(**arrays)
    if wanted:
        output.backward(mx.nd.array(inputs["head"], dtype=dtype))
    return {"output": output.asnumpy(), **{f"grad_{name}": arrays[name].grad.asnumpy() for name in wanted}}


class Recorder:
    """Collects cases and arrays."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, case: Case, inputs: dict[str, np.ndarray], results: dict[str, dict[str, np.ndarray]]) -> None:
        self.cases.append(case)
        for which, arrays in {"input": inputs, **results}.items():
            for name, value in arrays.items():
                if value is not None:
                    self.arrays[f"{case.name}/{which}/{name}"] = value

    def mxnet(self, case: Case, inputs: dict[str, np.ndarray], call) -> None:
        self.add(case, inputs, {"float64": mxnet_results(call, inputs, case.gradients, "float64")})


def conv_inputs(shape: ConvCase, offset_scale: float, with_mask: bool) -> dict[str, np.ndarray]:
    rows, columns = shape.out_size
    made = {
        "input": normal(shape.batch, shape.channels, shape.height, shape.width),
        "offset": normal(shape.batch, 2 * shape.offset_groups * shape.taps, rows, columns, scale=offset_scale),
        "weight": normal(shape.out_channels, shape.channels // shape.groups, *shape.kernel, scale=0.1),
        "bias": normal(shape.out_channels),
        "head": normal(shape.batch, shape.out_channels, rows, columns),
    }
    made["offset"] = np.round(made["offset"] * 64) / np.float32(64)  # the same cell in float32 and float64
    made["offset"].reshape(-1)[::5] = np.round(made["offset"].reshape(-1)[::5])  # on cell edges, as at initialisation
    if with_mask:
        made["mask"] = RNG.uniform(0, 2, (shape.batch, shape.offset_groups * shape.taps, rows, columns)).astype(
            np.float32
        )
    return made


CONVOLUTIONS = {
    "plain_3x3": (ConvCase(), 2.0),
    "two_images_stride_2_groups": (
        ConvCase(batch=2, out_channels=8, stride=(2, 2), groups=2, offset_groups=4, height=9, width=11), 1.0),
    "dilated_64_channels_2_offset_groups": (
        ConvCase(channels=64, out_channels=4, padding=(2, 2), dilation=(2, 2), offset_groups=2, height=5, width=9), 1.5),
    "offsets_far_outside": (ConvCase(channels=32, out_channels=5, height=5, width=6), 8.0),
}  # fmt: skip


def convolution(operator, attributes: dict, input, offset, weight, bias, mask=None):
    return operator(*([input, offset] + ([mask] if mask is not None else []) + [weight, bias]), **attributes)


def record_convolutions(to: Recorder) -> None:
    for name, (shape, scale) in CONVOLUTIONS.items():
        geometry = dict(zip(("stride", "padding", "dilation"), map(list, shape.geometry), strict=True))
        attributes = dict(
            kernel=shape.kernel, stride=shape.stride, pad=shape.padding, dilate=shape.dilation,
            num_filter=shape.out_channels, num_group=shape.groups, num_deformable_group=shape.offset_groups,
        )  # fmt: skip
        inputs = conv_inputs(shape, scale, with_mask=False)
        case = Case(f"deform_conv2d_{name}", "deform_conv2d", ("input", "offset", "weight", "bias"),
                    {**geometry, "border": "clamp"}, gradients=("input", "offset", "weight", "bias"))  # fmt: skip
        plain = partial(convolution, mx.nd.contrib.DeformableConvolution, attributes)
        to.mxnet(case, inputs, plain)
        inputs = conv_inputs(shape, scale, with_mask=True)
        modulated = partial(convolution, mx.nd.contrib.ModulatedDeformableConvolution, attributes)
        output = mxnet_results(modulated, inputs, (), "float64")["output"]
        exact = loops(shape, inputs, "zeros", with_mask=True)
        np.testing.assert_allclose(exact.pop("output"), output, rtol=0, atol=1e-11)
        tensors = ("input", "offset", "mask", "weight", "bias")
        case = Case(f"modulated_{name}", "modulated_deform_conv2d", tensors, {**geometry, "border": "zeros"},
                    gradients=tensors,
                    witness="MXNet 1.9.1 CPU; gradients: float64 loops of tests/ops/reference.py")  # fmt: skip
        to.add(case, inputs, {"float64": {"output": output, **{f"grad_{k}": v for k, v in exact.items()}}})


ROIS = np.float32(
    [
        [0, 3.2, 5.7, 61.4, 44.9],
        [1, 0.5, 1.5, 40.5, 70.5],  # halves: away from zero, not to even
        [0, -30, -20, 25, 18],
        [1, 70, 60, 140, 120],
        [0, 10, 10, 10, 10],
        [1, 0, 0, 95, 79],
        [0, -300, -300, -200, -200],  # nothing of it inside
    ]
)


def record_pooling(to: Recorder) -> None:
    maps, scale = (2, 4 * 9, 6, 5), 1 / 16
    common = {"spatial_scale": scale, "output_dim": 4, "group_size": 3, "pooled_size": 3}
    for name, extra, classes in [
        ("no_offset", {"sample_per_part": 4, "trans_std": 0.0}, None),
        ("four_classes", {"sample_per_part": 2, "trans_std": 0.1}, 4),
        ("other_part_size", {"sample_per_part": 3, "trans_std": 0.3, "part_size": 2}, 1),
    ]:
        part = extra.get("part_size", 3)
        inputs = {"input": normal(*maps), "rois": ROIS, "head": normal(len(ROIS), 4, 3, 3)}
        if classes:
            inputs["offset"] = normal(len(ROIS), 2 * classes, part, part)

        def call(input, rois, offset=None, extra=extra):
            given = [input, rois] + ([offset] if offset is not None else [])
            return mx.nd.contrib.DeformablePSROIPooling(*given, no_trans=offset is None, **common, **extra)

        to.mxnet(Case(f"deform_psroi_pool_{name}", "deform_psroi_pool", ("input", "rois", "offset"), {**common, **extra},
                      gradients=("input", "offset") if classes else ("input",)), inputs, call)  # fmt: skip
    arguments = {"spatial_scale": scale, "output_dim": 4, "pooled_size": 3}
    inputs = {"input": normal(*maps), "rois": ROIS, "head": normal(len(ROIS), 4, 3, 3)}
    to.mxnet(Case("psroi_pool", "psroi_pool", ("input", "rois"), arguments, gradients=("input",)), inputs,
             lambda input, rois: mx.nd.contrib.PSROIPooling(input, rois, group_size=3, **arguments))  # fmt: skip
    inputs = {"input": normal(2, 6, 6, 5), "rois": ROIS, "head": normal(len(ROIS), 6, 3, 3)}
    to.mxnet(Case("roi_pool", "roi_pool", ("input", "rois"), {"spatial_scale": scale, "pooled_size": 3},
                  gradients=("input",)), inputs,
             lambda input, rois: mx.nd.ROIPooling(input, rois, pooled_size=(3, 3), spatial_scale=scale))  # fmt: skip


def record_proposals(to: Recorder) -> None:
    scales, ratios, height, width = [8.0, 16.0], [0.5, 1.0, 2.0], 10, 14
    inputs = {
        "class_prob": RNG.permutation(2 * 6 * height * width).reshape(1, 12, height, width).astype(np.float32)
        / np.float32(2 * 6 * height * width),
        "bbox_delta": normal(1, 24, height, width, scale=0.3),
        "im_info": np.float32([[150, 216, 1.5]]),
    }
    arguments = dict(feature_stride=16, scales=scales, ratios=ratios, pre_nms_top_n=300, post_nms_top_n=40,
                     nms_thresh=0.7, min_size=16)  # fmt: skip
    tensors, results = ("class_prob", "bbox_delta", "im_info"), ("rois", "scores", "num_valid")
    rois, scores = mx.nd.contrib.Proposal(
        *(mx.nd.array(inputs[name]) for name in tensors), feature_stride=16, scales=scales, ratios=ratios,
        rpn_pre_nms_top_n=300, rpn_post_nms_top_n=40, threshold=0.7, rpn_min_size=16, output_score=True,
    )  # fmt: skip
    to.add(Case("proposal_cxx", "proposal", tensors, {**arguments, "variant": "cxx"}, results), inputs,
           {"float32": {"rois": rois.asnumpy(), "scores": scores.asnumpy()}})  # fmt: skip
    made = propose(
        inputs["class_prob"][0, 6:], inputs["bbox_delta"][0], inputs["im_info"][0], draws=Draws(0), **arguments
    )
    count = made.num_valid
    to.add(Case("proposal_python", "proposal", tensors, {**arguments, "variant": "python"}, results, witness="dcn_tasks"),
           inputs, {"float32": {"rois": made.rois[:count], "scores": made.scores[:count].reshape(count, 1),
                                "num_valid": np.array([count])}})  # fmt: skip
    corner = RNG.uniform(0, 60, (200, 2))
    boxes = np.concatenate([corner, corner + RNG.uniform(5, 50, (200, 2))], 1).astype(np.float32)
    scores = (RNG.permutation(200) // 3 / np.float32(70)).astype(np.float32)  # in threes: ties by index
    keep = nms(np.concatenate([boxes, scores[:, None]], 1), 0.5)
    to.add(Case("nms", "nms", ("boxes", "scores"), {"iou_threshold": 0.5}, ("keep",), witness="dcn_tasks"),
           {"boxes": boxes, "scores": scores}, {"float32": {"keep": np.asarray(keep)}})  # fmt: skip


def main() -> None:
    recorder = Recorder()
    record_convolutions(recorder)
    record_pooling(recorder)
    record_proposals(recorder)
    versions = {"mxnet": mx.__version__, "numpy": np.__version__, "python": platform.python_version()}
    golden.save(golden.FILE, recorder.cases, recorder.arrays, versions)
    print(f"{golden.FILE}: {len(recorder.cases)} cases, {golden.FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
