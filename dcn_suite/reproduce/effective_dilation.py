"""The paper's table 2: effective dilation of a trained network's deformable layers, over the test images of its data set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcn_suite.feature_maps import feature_maps
from dcn_suite.reproduce.registry import Row
from dcn_suite.reproduce.training import Trained, trained
from dcn_tasks.boxes import areas
from dcn_tasks.data.reading import watched
from dcn_tasks.errors import InputError
from dcn_tasks.images import to_network_input
from dcn_tasks.network import NetworkSpec
from dcn_tasks.scoring.effective_dilation import EffectiveDilation, neighbour_distances, object_sizes


def measure(
    row: Row, framework: str, seed: int, *, data: Path, work: Path, note: Callable[[str], None]
) -> tuple[dict[str, float], dict]:
    """A layer's figures, by the network of `row.training`, which is trained where it is not yet.

    Args: as dcn_suite.reproduce.training.train_and_score.
    Returns: means by size, cells; details: their deviations, the numbers of positions, tertiles of the objects' areas.
    Raises: InputError when data is missing, or the network has no such deformable layer.
    """
    key = (row.training.id, framework, seed, data, work)
    if key not in PASSES:
        network = trained(row.training, framework, seed, data=data, work=work, image_set=None, note=note)
        PASSES[key] = look_at(network, framework)
    done, unit = PASSES[key], row.setting["unit"]
    layer = next((name for name in done.layers if name.startswith(unit)), None)
    if layer is None:
        raise InputError(
            f"{row.id}: expected {unit} to be deformable, {row.training.config} deforms {', '.join(done.layers)}"
        )
    found = done.layers[layer].figures()
    details = {
        "spread": {size: deviation for size, (_, deviation, _) in found.items()},
        "positions": {size: count for size, (*_, count) in found.items()},
        "area_tertiles_px2": done.tertiles,
        "image_set": done.image_set,
    }
    return {size: mean for size, (mean, *_) in found.items()}, details


@dataclass(frozen=True)
class Pass:
    """One look at every image. layers: by name. tertiles: where a third and two thirds of the objects' areas lie, pixels."""

    layers: dict[str, EffectiveDilation]
    tertiles: dict[str, list[float]]
    image_set: str


PASSES: dict[tuple, Pass] = {}  # of this process, by network and data: the rows of the table share one


def look_at(network: Trained, framework: str) -> Pass:
    """Every deformable layer, over all images."""
    spec = NetworkSpec.from_config(network.cfg)
    if spec.family == "fpn" or spec.modulated_conv or not spec.deformable_convolutions:
        raise InputError(
            "effective dilation: expected a network with one map and deformable convolutions without masks"
        )
    nodes = {f"{layer}_offset": layer for layer in spec.deformable_convolutions}
    maps = feature_maps(network.cfg, network.checkpoint, framework, list(nodes))
    found = {layer: EffectiveDilation() for layer in spec.deformable_convolutions}
    published, resized = [], []
    for index in watched(range(len(network.dataset)), "effective dilation"):
        sample = network.dataset[index]
        data_, im_info = to_network_input(sample.read_image(), network.cfg)
        scale = float(im_info[0, 2])
        published.append(areas(sample.boxes))
        resized.append(published[-1] * scale**2)
        for node, offsets in maps(data_).items():
            layer = nodes[node]
            sizes = object_sizes(sample.boxes, offsets.shape[1:], spec.feature_strides[0] / scale)
            dilation = spec.dilation(int(layer.removeprefix("res")[0]))  # res5a_branch2b is of stage 5
            found[layer].add(neighbour_distances(offsets, dilation, spec.num_deformable_group), sizes)
    return Pass(found, {"published": tertiles(published), "resized": tertiles(resized)}, network.image_set)


def tertiles(values: Sequence[np.ndarray]) -> list[float]:
    every = np.concatenate([np.zeros(0), *values])
    return [round(float(value), 1) for value in np.quantile(every, (1 / 3, 2 / 3))] if len(every) else []
