"""Converted weights compute, module by module, what MXNet computes with the originals (float64, every map before the RoIs)."""

import numpy as np
import pytest
import torch

from tests.convert.checkpoints import made_up, narrow
from tests.tolerances import FLOAT64_SAME_FUNCTION
from weights_convert import Params, load_params, node_map, save_params, to_torch

HEIGHT, WIDTH = 48, 64


def plausible(params: Params) -> Params:
    """Random weights scaled so that activations stay near 1 (he), variances positive, offsets of a pixel or so."""
    rng = np.random.default_rng(3)
    for name, array in params.arg.items():
        if array.ndim == 4:
            array *= np.float32(np.sqrt(2 / array[0].size))
        elif name.endswith("_gamma"):
            array[:] = rng.uniform(0.5, 1.5, array.shape)
    for name, array in params.aux.items():
        if name.endswith("_moving_var"):
            array[:] = rng.uniform(0.5, 1.5, array.shape)
    return params


def mxnet_maps(cfg, params: Params, data: np.ndarray) -> dict[str, np.ndarray]:
    """Output of every node that comes before the RoIs, by node name."""
    mx = pytest.importorskip("mxnet")
    from mxnet_ref import build_symbol

    internals = build_symbol(cfg, is_train=False, dtype="float64").get_internals()
    after = ("rpn.proposal", "head.softmax", "_pool", "_average")
    before = [node for node, module in node_map(cfg, is_train=False).items() if not module.endswith(after)]
    chosen = mx.sym.Group([internals[f"{name}_output"] for name in before])
    values = {name: mx.nd.array(array, dtype="float64") for name, array in params.arg.items()}
    for name in [name for name in values if name.endswith("_test")]:  # as the original's test scripts load them
        values[name.removesuffix("_test")] = values.pop(name)
    values["data"] = mx.nd.array(data, dtype="float64")
    arguments = {name: values[name] for name in chosen.list_arguments()}
    aux = {name: mx.nd.array(params.aux[name], dtype="float64") for name in chosen.list_auxiliary_states()}
    executor = chosen.bind(mx.cpu(), arguments, aux_states=aux, grad_req="null")
    return dict(zip(before, (output.asnumpy() for output in executor.forward(is_train=False)), strict=True))


def torch_maps(cfg, state: dict[str, torch.Tensor], data: np.ndarray) -> dict[str, np.ndarray]:
    """Output of every module up to the score maps, by module path."""
    from torch_port.models import build_network

    network = build_network(cfg).double().eval()
    network.load_state_dict(state, strict=True)
    seen: dict[str, np.ndarray] = {}

    def keep(path):
        return lambda module, inputs, output: seen.update({path: output.detach().numpy()})

    for path, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(keep(path))
    with torch.no_grad():
        _, _, stage4, stage5 = network.backbone(torch.from_numpy(data))
        hidden = network.rpn.relu(network.rpn.conv(stage4))
        network.rpn.softmax(network.rpn.cls_score(hidden))
        network.rpn.bbox_pred(hidden)
        hidden = network.head.relu(network.head.reduce(stage5))
        for name, module in network.head.named_children():
            if name.endswith("_maps"):
                module(hidden)
    return seen


@pytest.mark.mxnet
@pytest.mark.parametrize("kind", ["plain", "deformable"])
def test_converted_modules_compute_what_mxnets_nodes_compute(tmp_path, kind):
    cfg = narrow(kind)
    save_params(tmp_path / "a.params", plausible(made_up(cfg)))
    params = load_params(tmp_path / "a.params")
    data = np.random.default_rng(5).standard_normal((1, 3, HEIGHT, WIDTH))
    state = {name: tensor.double() for name, tensor in to_torch(params, cfg).items()}
    expected, got = mxnet_maps(cfg, params, data), torch_maps(cfg, state, data)
    modules = node_map(cfg, is_train=False)
    others = sum(cfg.network.UNITS) - 4  # units without a projection
    plain = 4 + 4 * 12 + others * 10 + 5 + 4  # stem, four projecting units, others, RPN, head up to its maps
    assert len(expected) == plain + (3 if kind == "deformable" else 0)  # three convolutions that predict offsets
    for node, value in expected.items():
        ours = got[modules[node]]
        scale = np.abs(value).max()
        assert scale > 0, node
        error = np.abs(ours.reshape(value.shape) - value).max()
        assert error <= FLOAT64_SAME_FUNCTION * scale, f"{node} -> {modules[node]}: {error / scale:.1e} of its scale"
