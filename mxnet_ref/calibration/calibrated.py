"""The whole of it: random parameters, backbone, head, and a look at what they detect."""

from pathlib import Path

import numpy as np

from dcn_tasks.config import Config, load_config
from dcn_tasks.detections import Detections
from dcn_tasks.images import to_network_input
from mxnet_ref.calibration.backbone import calibrate_backbone, randomise
from mxnet_ref.calibration.detections import SHOWN, settle_detections
from mxnet_ref.calibration.graph import graph_of
from mxnet_ref.calibration.heads import HEADS, calibrate_two_stages
from mxnet_ref.executor import Arrays
from mxnet_ref.init import init_params

FULL_WIDTH = 64  # BASE_WIDTH from which enough detections are expected


def calibrated_init(
    config: str | Path | Config, image: np.ndarray, seed: int = 0, *, min_detections: int | None = None
) -> tuple[Arrays, Arrays]:
    """Random parameters with sane statistics on a photograph.

    Normalisations get the statistics of their own input, class logits std 2, offsets std 1.5 feature pixels. Residual
    branches stay small beside their shortcuts, RoI sides away from half pixels, where pooling rounds, and overlaps from the
    threshold of suppression: so that a rounding stays one, and two implementations that each decide alone find the same boxes.

    Args:
        image: RGB uint8 [H, W, 3].
        min_detections: above 0.05, over 5 classes (or all, where there are fewer); None: 50, and 5 for networks narrower
            than the original's, where also 2 classes do.
    Returns: (arg, aux), float32; box weights normalised, as training leaves them.
    Raises: RuntimeError when the network detects less; for DeepLab when hardly a class wins.
    """
    cfg = load_config(config)
    arg, aux = init_params(cfg, seed=seed, pretrained=False)
    randomise(arg, seed)
    data, im_info = to_network_input(image, cfg)
    inputs = {"data": data, "im_info": im_info}
    calibrate_backbone(graph_of(cfg, arg, aux, inputs, network__USE_GLOBAL_STATS=False))
    graph = graph_of(cfg, arg, aux, inputs).behind_backbone()
    family = graph.spec.family
    HEADS.get(family, calibrate_two_stages)(graph)
    if family == "deeplab":
        return arg, aux
    found = settle_detections(graph).above(SHOWN)
    full = cfg.network.BASE_WIDTH >= FULL_WIDTH
    min_classes = min(5, cfg.dataset.NUM_CLASSES - 1) if full else 2
    check_detections(found, (50 if full else 5) if min_detections is None else min_detections, min_classes)
    return arg, aux


def check_detections(found: Detections, min_detections: int, min_classes: int) -> None:
    """Raises: RuntimeError unless the network detects enough."""
    classes = len(np.unique(found.classes))
    if len(found) < min_detections or classes < min_classes:
        raise RuntimeError(
            f"calibrated_init: expected {min_detections} detections above 0.05 over {min_classes} classes, "
            f"got {len(found)} over {classes}: choose another seed or image"
        )
