"""ResNets under torchvision's names in our backbone: the same features as the rules of their layouts give, from random weights.

torchvision itself is not needed: its network is written out here in plain functions.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_suite.cli.main import main
from dcn_tasks.batch import feature_size
from dcn_tasks.config import dump, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.network import TORCHVISION
from weights_convert import from_caffe_layout, from_torchvision, load_params, load_weights, save_weights

WIDTH, UNITS = 8, (2, 1, 1, 1)
MEANS = [103.53, 116.28, 123.675]  # 255 * (0.406, 0.456, 0.485): B, G, R
CAFFE = {"network__BASE_WIDTH": WIDTH, "network__UNITS": list(UNITS), "network__USE_GLOBAL_STATS": True}
TORCH = {**CAFFE, "network__BACKBONE": TORCHVISION, "network__PIXEL_MEANS": MEANS}


def torchvision_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random float64 weights under torchvision's names, with its classifier and counters."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def conv(name: str, out: int, inner: int, side: int) -> None:
        std = (2 / (inner * side * side)) ** 0.5
        state[f"{name}.weight"] = torch.randn(out, inner, side, side, generator=generator, dtype=torch.float64) * std

    def norm(name: str, channels: int) -> None:
        for part, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            state[f"{name}.{part}"] = torch.rand(channels, generator=generator, dtype=torch.float64) + low
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", WIDTH, 3, 7)
    norm("bn1", WIDTH)
    inner = WIDTH
    for layer, count in enumerate(UNITS, start=1):
        width = WIDTH * 2 ** (layer - 1)
        for unit in range(count):
            path = f"layer{layer}.{unit}"
            for k, (out, ins, side) in enumerate(
                ((width, inner, 1), (width, width, 3), (4 * width, width, 1)), start=1
            ):
                conv(f"{path}.conv{k}", out, ins, side)
                norm(f"{path}.bn{k}", out)
            if unit == 0:
                conv(f"{path}.downsample.0", 4 * width, inner, 1)
                norm(f"{path}.downsample.1", 4 * width)
            inner = 4 * width
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, inner), torch.zeros(1000)
    return state


def torchvision_input(pixels: torch.Tensor) -> torch.Tensor:
    """What torchvision feeds its network: pixels 0 to 255 to 0 to 1, less a mean, over a deviation."""
    mean, std = (
        torch.tensor(v, dtype=torch.float64)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return (pixels / 255 - mean) / std


def stages_of(state: dict[str, torch.Tensor], input: torch.Tensor, *, caffe: bool = False) -> list[torch.Tensor]:
    """The forward of torchvision's layout or of Caffe's (strides on 1x1 convolutions, a first pooling that rounds up), stages 1 to 4."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias, running_mean, running_var = (
            state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return F.batch_norm(x, running_mean, running_var, weight, bias, eps=1e-5)

    x = norm(F.conv2d(input, state["conv1.weight"], stride=2, padding=3), "bn1").relu()
    x = F.max_pool2d(x, 3, stride=2, ceil_mode=True) if caffe else F.max_pool2d(x, 3, stride=2, padding=1)
    stages = []
    for layer, count in enumerate(UNITS, start=1):
        for unit in range(count):
            path, stride = f"layer{layer}.{unit}", 2 if layer > 1 and unit == 0 else 1
            first, middle = (stride, 1) if caffe else (1, stride)
            y = norm(F.conv2d(x, state[f"{path}.conv1.weight"], stride=first), f"{path}.bn1").relu()
            y = norm(F.conv2d(y, state[f"{path}.conv2.weight"], stride=middle, padding=1), f"{path}.bn2").relu()
            y = norm(F.conv2d(y, state[f"{path}.conv3.weight"]), f"{path}.bn3")
            if unit == 0:
                x = norm(F.conv2d(x, state[f"{path}.downsample.0.weight"], stride=stride), f"{path}.downsample.1")
            x = (x + y).relu()
        stages.append(x)
    return stages


def arrays(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in state.items()}


def image(height: int = 96, width: int = 128) -> torch.Tensor:
    """Pixels 0 to 255 in float64, planes R, G, B."""
    return torch.as_tensor(np.random.default_rng(1).integers(0, 256, (1, 3, height, width))).double()


def less_means(pixels: torch.Tensor) -> torch.Tensor:
    return pixels - torch.tensor(MEANS[::-1], dtype=torch.float64)[:, None, None]


def test_backbone_gives_torchvisions_features():
    from torch_port.models import build_network

    state = torchvision_state()
    cfg = load_config("demo/narrow_fpn", **TORCH)  # strides 4, 8, 16, 32, as torchvision's
    converted = from_torchvision(arrays(state), cfg)
    network = build_network(cfg).double().eval()
    missing, unexpected = network.load_state_dict(converted.tensors(), strict=False)
    assert set(missing) == set(converted.fresh) and not unexpected
    assert not any(name.startswith("backbone.") for name in missing)
    assert set(converted.dropped) == {name for name in state if name.startswith("fc.") or "num_batches" in name}
    with torch.inference_mode():
        found = network.backbone(less_means(image()))
        expected = stages_of(state, torchvision_input(image()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=FLOAT64_SAME_FUNCTION * float(theirs.abs().max()))


@pytest.mark.parametrize("size", [(96, 128), (101, 131)])
def test_msras_network_under_torchvisions_names_is_the_originals(size):
    """Its planes are B, G, R; the original's, and ours, R, G, B."""
    from torch_port.models import build_network

    state = torchvision_state(seed=3)
    cfg = load_config("demo/narrow_fpn", **CAFFE)
    converted = from_caffe_layout(arrays(state), cfg)
    network = build_network(cfg).double().eval()
    missing, unexpected = network.load_state_dict(converted.tensors(), strict=False)
    assert set(missing) == set(converted.fresh) and not unexpected
    means = torch.tensor(cfg.network.PIXEL_MEANS, dtype=torch.float64)[:, None, None]  # B, G, R
    with torch.inference_mode():
        found = network.backbone(image(*size) - means.flip(0))
        expected = stages_of(state, image(*size).flip(1) - means, caffe=True)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=FLOAT64_SAME_FUNCTION * float(theirs.abs().max()))


def test_caffes_layout_is_asked_for_and_wants_its_backbone(tmp_path, capsys):
    state = torchvision_state()
    with pytest.raises(InputError, match=r"OpenMMLab's resnet101_msra\): --caffe"):
        from_torchvision(arrays(state), load_config("demo/narrow_rfcn", **CAFFE))
    with pytest.raises(InputError, match=r"expected network\.BACKBONE resnet_v1, got resnet_v1_torchvision"):
        from_caffe_layout(arrays(state), load_config("demo/narrow_rfcn", **TORCH))
    config = tmp_path / "narrow.yaml"
    config.write_text(dump(load_config("demo/narrow_rfcn_dcn", **CAFFE)), encoding="utf-8")
    save_weights(tmp_path / "msra.safetensors", {name: tensor.float() for name, tensor in state.items()}, {})
    words = ["convert", str(tmp_path / "msra.safetensors"), "--config", str(config), "-o", str(tmp_path / "out")]
    assert main([*words, "--caffe"]) == 0
    assert "planes turned from B, G, R to R, G, B" in capsys.readouterr().err
    found = load_weights(tmp_path / "out" / "model.safetensors").state["backbone.stem.conv.weight"]
    assert torch.equal(found, state["conv1.weight"].float().flip(1))
    assert main(["convert", str(tmp_path / "out"), "--to", "mxnet", "-o", str(tmp_path / "msra")]) == 0
    words[1] = str(tmp_path / "msra-0000.params")
    assert main([*words, "--caffe"]) == 2 and "leave it out" in capsys.readouterr().err


@pytest.mark.mxnet
@pytest.mark.parametrize("size", [(96, 128), (101, 131)])
def test_mxnets_graph_of_that_layout_computes_the_same(size):
    from mxnet_ref import build_symbol
    from mxnet_ref.executor import outputs_of
    from torch_port.models import build_network
    from weights_convert import to_mxnet

    cfg = load_config("demo/narrow_rfcn_dcn", **TORCH)  # res5 dilated, deformable
    network = build_network(cfg).double().eval()
    network.load_state_dict(from_torchvision(arrays(torchvision_state()), cfg).tensors(), strict=False)
    for unit in network.backbone.stage5:
        torch.nn.init.normal_(unit.offset_conv.weight, std=0.05)
    params = to_mxnet(network.state_dict(), cfg)
    inputs = {"data": less_means(image(*size)).numpy(), "im_info": np.array([[*size, 1.0]])}
    arg, aux = ({name: np.asarray(value) for name, value in group.items()} for group in (params.arg, params.aux))
    symbol = build_symbol(cfg, False, dtype="float64")
    nodes = {"stage4": "res4a_relu", "stage5": "res5a_relu"}
    theirs = outputs_of(symbol, list(nodes.values()), arg, aux, inputs, dtype="float64")
    with torch.inference_mode():
        ours = network.backbone(torch.as_tensor(inputs["data"]))._asdict()
    for stage, node in nodes.items():
        value = next(array for name, array in theirs.items() if name.startswith(node))
        np.testing.assert_allclose(
            ours[stage].numpy(), value, rtol=0, atol=FLOAT64_SAME_FUNCTION * float(np.abs(value).max())
        )
    assert ours["stage4"].shape[2:] == feature_size(*size, TORCHVISION)


def test_an_fpn_strides_its_deformable_unit_of_that_layout():
    from torch_port.models import build_network

    network = build_network(load_config("demo/narrow_fpn_dcn", **TORCH))
    first = network.backbone.stage5[0]
    assert first.conv1.stride == (1, 1) and first.conv2.stride == first.offset_conv.stride == (2, 2)
    assert network.backbone(torch.zeros(1, 3, 64, 96)).stage5.shape[2:] == (2, 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (CAFFE, "expected network.BACKBONE resnet_v1_torchvision, got resnet_v1"),
        ({**TORCH, "network__PIXEL_MEANS": [103.06, 115.9, 123.15]}, "expected network.PIXEL_MEANS"),
        ({**TORCH, "network__UNITS": [2, 1, 2, 1]}, r"stage4.1.conv1.weight .* is not in it"),
        ({**TORCH, "network__UNITS": [1, 1, 1, 1]}, "backbone.stage2.1.conv1.weight has no place in the network"),
        (
            {**TORCH, "network__BASE_WIDTH": 16},
            r"backbone.stem.conv.weight: expected \[16, 3, 7, 7\], got \[8, 3, 7, 7\]",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_told_what_does(change, sentence):
    with pytest.raises(InputError, match=sentence):
        from_torchvision(arrays(torchvision_state()), load_config("demo/narrow_rfcn", **change))


def test_dcn_convert_makes_a_backbone_file_for_both_frameworks(tmp_path, capsys):
    config = tmp_path / "substitute.yaml"
    config.write_text(dump(load_config("demo/narrow_rfcn_dcn", **TORCH)), encoding="utf-8")
    state = {name: tensor.float() for name, tensor in torchvision_state().items()}
    save_weights(tmp_path / "resnet.safetensors", state, {})
    source, out = str(tmp_path / "resnet.safetensors"), str(tmp_path / "converted")
    assert main(["convert", source, "--config", str(config), "-o", out]) == 0
    assert "a substitute for the original's" in capsys.readouterr().err
    assert main(["convert", out, "--to", "mxnet", "-o", str(tmp_path / "tv" / "resnet")]) == 0
    params = load_params(tmp_path / "tv" / "resnet-0000.params")
    np.testing.assert_array_equal(params.arg["res2a_branch2b_weight"], state["layer1.0.conv2.weight"])
    np.testing.assert_array_equal(params.aux["bn5a_branch1_moving_var"], state["layer4.0.downsample.1.running_var"])
    assert not any(name.startswith(("rpn", "rfcn", "fc")) for name in params.arg)
    assert main(["convert", source, "--config", "demo/narrow_rfcn_dcn", "-o", str(tmp_path / "other")]) == 2
    assert "expected network.BACKBONE resnet_v1_torchvision" in capsys.readouterr().err
