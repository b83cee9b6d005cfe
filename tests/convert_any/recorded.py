"""The real checkpoints of the optional folder, as (graph, parameters, inputs, recorded outputs)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weights_convert import Params, load_params


@dataclass(frozen=True)
class Checkpoint:
    """symbol: path of the graph. inputs, outputs: recorded arrays by name, outputs in the graph's order."""

    name: str
    symbol: Path
    params: Params
    inputs: dict[str, np.ndarray]
    outputs: list[np.ndarray]


# Every checkpoint whose MXNet output was recorded.
RECORDED = (
    "cifar_resnet20_v1", "cifar_resnet20_v2", "gluon_cnn_bn_mnist", "go_test_pr3", "jg_autoencoder", "jg_cnn",
    "jg_fused_gru", "jg_fused_rnn", "jg_logreg_fc", "ldpe2g_parse_test", "lffd_head", "matlab_mnist_lenet",
    "mobileface_id_v1", "mobilefacenet_y1", "mtcnn_det1", "mtcnn_det2", "mxnet2_formats", "ocr_lstm_warpctc",
    "retinaface_mnet025_v1_org", "retinaface_mnet_16", "retinaface_mnet_16and32", "sagemaker_ntm",
    "synthetic_ops_deform", "synthetic_ops_misc", "synthetic_ops_roi", "texturenet_fire",
)  # fmt: skip


def checkpoint(folder: Path) -> Checkpoint:
    symbols = sorted(folder.glob("*symbol.json"), key=lambda path: "cut" not in path.name)  # the cut graph was recorded
    recorded = np.load(folder / "io.npz")
    inputs = {name[3:]: recorded[name] for name in recorded.files if name.startswith("in:")}
    outputs = [recorded[name] for name in recorded.files if name.startswith("out")]
    return Checkpoint(folder.name, symbols[0], parameters(folder), inputs, outputs)


def parameters(folder: Path) -> Params:
    if (folder / "args.nd").exists():  # an early habit: two files without prefixes
        return Params(dict(load_params(folder / "args.nd").arg), dict(load_params(folder / "auxs.nd").arg))
    return load_params(next(folder.glob("*-0*.params")))
