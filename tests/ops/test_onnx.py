"""ONNX files of the operators, run by ONNX Runtime, against MXNet and against the operators themselves."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import roi_cases
import torch
from deform_conv_cases import CASES, Case
from roi_pooling_cases import ROI_CASES
from test_deform_conv import mxnet_deform_conv
from tolerances import FLOAT32_NETWORK, ONNX_FLOAT32
from torch import Tensor, nn

import torch_port.onnx
from dcn_tasks.config import load_config
from dcn_tasks.errors import InputError
from torch_port import ops
from torch_port.layers import DeformConv2dPack, DeformPSRoIPool, ModulatedDeformConv2dPack
from torch_port.models import build_network

if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("onnxscript") is None:
    pytest.skip("onnx, onnxscript, onnxruntime are not all installed (requirements/dev.txt)", allow_module_level=True)

NAMES = ["edges_of_the_map", "offsets_30_px", "kernel_2x5", "stride_2_dilation_2", "weight_groups_4_offset_groups_2",
         "map_of_one_row", "res5_96_channels_edges"]  # fmt: skip
ROI_NAMES = ["rois_at_half_pixels", "rois_at_half_cells", "rois_outside", "tiny_rois", "reversed_corners", "oblong_output",
             "batch_of_3_images", "scale_not_exact_in_float32"]  # fmt: skip
DYNAMIC = {"input": (0, 2, 3), "offset": (0, 2, 3), "mask": (0, 2, 3)}


class Operator(nn.Module):
    """One call of an operator; weight and bias are the module's."""

    def __init__(self, case: Case, border: str):
        super().__init__()
        arrays = case.arrays()
        self.weight = nn.Parameter(torch.tensor(arrays["weight"]))
        self.bias = nn.Parameter(torch.tensor(arrays["bias"])) if case.bias else None
        self.geometry, self.border = case.geometry, border


class Plain(Operator):
    def forward(self, input: Tensor, offset: Tensor) -> Tensor:
        return ops.deform_conv2d(input, offset, self.weight, self.bias, *self.geometry, border=self.border)


class Masked(Operator):
    def forward(self, input: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return ops.modulated_deform_conv2d(
            input, offset, mask, self.weight, self.bias, *self.geometry, border=self.border
        )


def operators_in(path: Path) -> list[str]:
    import onnx

    return [node.op_type for node in onnx.load(path).graph.node]


def run_onnx(path: Path, *inputs: np.ndarray | Tensor) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    arrays = [np.asarray(i) for i in inputs]
    return session.run(None, {entry.name: a for entry, a in zip(session.get_inputs(), arrays, strict=True)})


def assert_close(got: np.ndarray, expected: np.ndarray, tolerance: float = ONNX_FLOAT32) -> None:
    assert np.abs(expected).max() > 0
    assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.mxnet
@pytest.mark.parametrize("name", NAMES)
def test_clamp_in_a_runtime_is_mxnets_deformable_convolution(name: str, tmp_path):
    case = CASES[name]
    arrays = case.arrays()
    inputs = [torch.tensor(arrays[n]) for n in ("input", "offset")]
    path = torch_port.onnx.export(Plain(case, "clamp"), tuple(inputs), tmp_path / "clamp.onnx")
    assert_close(run_onnx(path, *inputs)[0], mxnet_deform_conv(case, arrays, np.float32)["output"])


@pytest.mark.parametrize("border", ["clamp", "zeros"])
@pytest.mark.parametrize("name", ["edges_of_the_map", "weight_groups_4_offset_groups_2"])
def test_modulated_in_a_runtime_is_ours(name: str, border: str, tmp_path):
    case = CASES[name]
    inputs = tuple(torch.tensor(case.arrays()[n]) for n in ("input", "offset", "mask"))
    module = Masked(case, border)
    path = torch_port.onnx.export(module, inputs, tmp_path / "modulated.onnx")
    assert_close(run_onnx(path, *inputs)[0], module(*inputs).detach().numpy())


@pytest.mark.parametrize("operator", [Plain, Masked])
def test_zeros_is_one_standard_operator_of_opset_19(operator, tmp_path):
    import onnx

    case = CASES["edges_of_the_map"]
    inputs = tuple(torch.tensor(case.arrays()[n]) for n in ("input", "offset", "mask"))[: 2 + (operator is Masked)]
    path = torch_port.onnx.export(operator(case, "zeros"), inputs, tmp_path / "zeros.onnx")
    assert operators_in(path) == ["DeformConv"]
    assert [(o.domain, o.version) for o in onnx.load(path).opset_import if o.domain == ""] == [("", 19)]


@pytest.mark.parametrize("border", ["clamp", "zeros"])
def test_one_file_serves_every_size(border: str, tmp_path):
    small, large = Case(batch=1), Case(batch=3, height=13, width=10)
    module = Masked(small, border)
    first, second = (tuple(torch.tensor(c.arrays()[n]) for n in DYNAMIC) for c in (small, large))
    path = torch_port.onnx.export(module, first, tmp_path / "dynamic.onnx", dynamic=True)
    for inputs in (first, second):
        assert_close(run_onnx(path, *inputs)[0], module(*inputs).detach().numpy())


def test_position_that_is_not_finite_samples_nothing_under_clamp(tmp_path):
    case = CASES["offsets_2_px"]
    input, offset = (torch.tensor(case.arrays()[n]) for n in ("input", "offset"))
    offset[0, ::5] = float("nan")
    offset[0, 1::5] = float("inf")
    module = Plain(case, "clamp")
    path = torch_port.onnx.export(module, (input, offset), tmp_path / "nan.onnx")
    assert_close(run_onnx(path, input, offset)[0], module(input, offset).detach().numpy())


class Pool(nn.Module):
    def __init__(self, parameters: dict):
        super().__init__()
        self.parameters_of_pool = parameters

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return ops.roi_pool(input, rois, **self.parameters_of_pool)


@pytest.mark.parametrize("name", ROI_NAMES)
def test_roi_pool_in_a_runtime_is_ours_bit_for_bit(name: str, tmp_path):
    case = ROI_CASES[name]
    inputs = torch.tensor(case.arrays()[0]), torch.tensor(case.rois)
    module = Pool(case.parameters())
    path = torch_port.onnx.export(module, inputs, tmp_path / "pool.onnx", dynamic={"rois": (0,)})
    assert operators_in(path) == ["MaxRoiPool"]
    np.testing.assert_array_equal(run_onnx(path, *inputs)[0], module(*inputs).numpy())
    fewer = torch.tensor(roi_cases.scattered(2, 50, 60))
    np.testing.assert_array_equal(run_onnx(path, inputs[0], fewer)[0], module(inputs[0], fewer).numpy())


def test_layers_that_predict_their_offsets_keep_their_mode_and_export(tmp_path):
    torch.manual_seed(0)
    layers = nn.Sequential(
        DeformConv2dPack(3, 8, 3, padding=1),
        nn.BatchNorm2d(8).eval(),
        ModulatedDeformConv2dPack(8, 4, 3, padding=2, dilation=2, offset_groups=2),
    )
    for layer in (layers[0], layers[2]):
        nn.init.normal_(layer.offset_conv.weight, std=0.3)
    modes = [part.training for part in layers.modules()]
    image = torch.randn(1, 3, 12, 14)
    path = torch_port.onnx.export(layers, (image,), tmp_path / "layers.onnx", dynamic=True)
    assert [part.training for part in layers.modules()] == modes and {True, False} <= set(modes)
    other = torch.randn(2, 3, 9, 17)
    assert_close(run_onnx(path, other)[0], layers.eval()(other).detach().numpy(), FLOAT32_NETWORK)


def test_backbone_of_a_deformable_network_in_a_runtime(tmp_path):
    torch.manual_seed(0)
    backbone = build_network(load_config("demo/narrow_rfcn_dcn")).backbone.eval()
    for name, parameter in backbone.named_parameters():
        if "offset_conv" in name:
            nn.init.normal_(parameter, std=0.05)
    image, other = torch.randn(1, 3, 64, 80), torch.randn(2, 3, 96, 70)
    path = torch_port.onnx.export(backbone, (image,), tmp_path / "backbone.onnx", dynamic=True)
    for got, expected in zip(run_onnx(path, other), backbone(other), strict=True):
        assert_close(got, expected.detach().numpy(), FLOAT32_NETWORK)


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = DeformPSRoIPool(2, spatial_scale=0.5, group_size=2, pooled_size=2)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return self.pool(input, rois)


def test_operator_without_a_form_is_named_and_no_file_is_left(tmp_path):
    with pytest.raises(
        InputError, match=r"export: expected operators that ONNX has, got deform_psroi_pool \(in pool\)"
    ):
        torch_port.onnx.export(
            Pooled(), (torch.zeros(1, 8, 9, 9), torch.tensor([[0.0, 1, 1, 9, 9]])), tmp_path / "x.onnx"
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"opset": 18}, "opset: expected 19 or more, where DeformConv is, got 18"),
        ({"dynamic": {"image": (0,)}}, r"dynamic: expected names among \['input', 'offset'\], got 'image'"),
        ({"dynamic": {"input": (4,)}}, r"dynamic: expected axes of input, 0 to 3, got \(4,\)"),
    ],
)
def test_wrong_argument_is_refused_in_words(arguments, message, tmp_path):
    case = CASES["edges_of_the_map"]
    inputs = tuple(torch.tensor(case.arrays()[n]) for n in ("input", "offset"))
    with pytest.raises(InputError, match="torch_port.onnx.export: " + message):
        torch_port.onnx.export(Plain(case, "zeros"), inputs, tmp_path / "x.onnx", **arguments)
