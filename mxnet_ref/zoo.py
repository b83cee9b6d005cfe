"""GluonCV's model zoo as graphs with made-up weights: what any owner of such a model would export."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import mxnet as mx
import numpy as np

Shape = tuple[int, ...]
# Ascending sides of the input image that are tried until MXNet can infer all shapes.
SIDES = (64, 96, 128, 160, 192, 224, 256, 299, 320, 331, 416, 480, 512)
SEGMENTATION = ("fcn_", "psp_", "deeplab_", "icnet_", "danet_", "fastscnn_")
FEW_ROIS = 16
VIDEO = ("c3d_", "p3d_", "r2plus1d_", "i3d_", "slowfast_")


@dataclass(frozen=True)
class ZooModel:
    """text: the symbol.json. shapes: of every argument and auxiliary state but inputs. constants: arrays that are no weights.

    inputs: shapes by name. smaller: what besides the image is smaller than GluonCV builds it; "" for nothing.
    deviations: of weights by name, where the network's own start says it and much larger ones make no sane boxes (R-CNN).
    """

    name: str
    text: str
    inputs: Mapping[str, Shape]
    shapes: Mapping[str, Shape]
    states: Mapping[str, Shape]
    constants: Mapping[str, np.ndarray]
    smaller: str = ""
    deviations: Mapping[str, float] = field(default_factory=dict)


def zoo_names() -> list[str]:
    """Every name of GluonCV 0.8's `get_model_list()`, in its order."""
    from gluoncv.model_zoo import get_model_list

    return list(get_model_list())


def input_shapes(name: str) -> Iterator[dict[str, Shape]]:
    """Shapes of the inputs to try, small ones first."""
    if name.startswith("siamrpn"):
        yield {"template": (1, 3, 127, 127), "search": (1, 3, 287, 287)}
    else:
        yield from ({"data": shape} for shape in data_shapes(name))


def data_shapes(name: str) -> Iterator[Shape]:
    """Shapes of the one image or clip to try, small ones first."""
    if name.startswith("c3d_"):
        yield (1, 3, 16, 112, 112)
    elif name.startswith("slowfast_"):
        frames = {"4x16": 36, "8x8": 40, "16x8": 80}[name.split("_")[1]]
        yield from ((1, 3, frames, side, side) for side in (64, 96, 128, 224))
        yield from ((1, 3, count, side, side) for count in (32, 64, 36, 40, 72) for side in (64, 224))
    elif name.startswith(VIDEO):
        yield from ((1, 3, frames, side, side) for frames in (16, 32, 64) for side in (64, 112, 224, 299))
    elif name.startswith("cifar_"):
        yield (1, 3, 32, 32)
    elif name.endswith(
        ("ucf101_int8", "kinetics400_int8")
    ):  # the graph says how many frames make a clip, one after another
        yield from ((frames, 3, side, side) for side in (64, 224, 299) for frames in (3, 7))
    elif "alpha_pose" in name:
        yield (1, 3, 256, 192)
    elif "pose" in name and "siam" not in name:
        yield from ((1, 3, 128, 96), (1, 3, 256, 192))
    elif name.startswith("monodepth2"):
        yield (1, 3, 192, 640)
    else:
        yield from ((1, 3, side, side) for side in SIDES)


def options(name: str) -> list[dict]:
    """Keyword arguments to try beside pretrained=False, the most telling first; segmentation at a small size."""
    common = {"pretrained": False, "pretrained_base": False}
    sized = {"crop_size": 128, "base_size": 128}
    first = [common | sized] if name.startswith(SEGMENTATION) else []
    if name == "resnet50_v1b_custom":  # else it copies weights of another network, which were not started
        first.append(common | {"use_kinetics_pretrain": False})
    classes = {"classes": ("a", "b", "c")} if "custom" in name else {}
    return [each | classes for each in (*first, common, {"pretrained": False})]


def build(name: str):
    """The Gluon network without any stored weights. Raises: what GluonCV raises, where no set of arguments suits it."""
    from gluoncv.model_zoo import get_model

    failure: Exception = RuntimeError(f"{name}: no arguments to try")
    for arguments in options(name):
        try:
            with warnings.catch_warnings(), without_stored_weights():
                warnings.simplefilter("ignore")
                return get_model(name, **arguments)
        except Exception as error:  # an argument that this network does not take, in several forms
            failure = error
    raise failure


@contextmanager
def without_stored_weights() -> Iterator[None]:
    """GluonCV's action networks fetch a stored base whatever pretrained_base says, or move weights that were not started."""
    with (
        patch.object(mx.gluon.Parameter, "reset_ctx", lambda *_: None),
        patch.object(mx.gluon.Block, "load_parameters", lambda *_, **__: None),
        patch("gluoncv.model_zoo.model_store.get_model_file", lambda *_, **__: ""),
    ):
        yield


def zoo_model(name: str, inputs: Mapping[str, Shape] | None = None) -> ZooModel:
    """The graph of one model for the given inputs, or with the smallest that it takes (and few RoIs).

    Raises: what GluonCV or MXNet raises.
    """
    network = build(name)
    smaller = "" if inputs else with_few_rois(network)
    symbol = traced(network, inputs or next(input_shapes(name)))
    failure: Exception = RuntimeError(f"{name}: no input shape to try")
    for given in [inputs] if inputs else input_shapes(name):
        try:
            arguments, _, states = symbol.infer_shape(**given)
        except Exception as error:
            failure = error
            continue
        if arguments is None:
            continue
        shapes = dict(zip(symbol.list_arguments(), arguments, strict=True))
        shapes = {each: size for each, size in shapes.items() if each not in given}
        constants = constants_of(network, shapes)
        return ZooModel(
            name,
            symbol.tojson(),
            given,
            {each: size for each, size in shapes.items() if each not in constants},
            dict(zip(symbol.list_auxiliary_states(), states, strict=True)),
            constants,
            smaller,
            stated_deviations(network) if hasattr(network, "rpn") else {},
        )
    raise failure


def with_few_rois(network) -> str:
    """Has an R-CNN keep FEW_ROIS proposals, so that its second stage is run on these. Returns: what was changed, or ""."""
    if not hasattr(network, "_rpn_test_post_nms"):
        return ""
    before = network._rpn_test_post_nms
    network._rpn_test_post_nms = network.rpn._test_post_nms = FEW_ROIS
    if hasattr(network, "_rcnn_max_dets"):
        network._rcnn_max_dets = FEW_ROIS
    return f"{FEW_ROIS} RoIs instead of {before}"


def traced(network, names: Iterable[str]) -> mx.sym.Symbol:
    """The network as a graph, as hybridize() and export() make it. Raises: RuntimeError where Gluon cannot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outputs = network(*map(mx.sym.Variable, names))
        except Exception as error:
            raise RuntimeError(
                "Gluon runs this network call by call and cannot write it as a graph, so it has no symbol.json "
                f"(hybridize() and export() end in the same error): {str(error).splitlines()[0]}"
            ) from error
    flat = list(flattened(outputs))
    return flat[0] if len(flat) == 1 else mx.sym.Group(flat)


def flattened(outputs) -> Iterator[mx.sym.Symbol]:
    if isinstance(outputs, mx.sym.Symbol):
        yield outputs
    else:
        for each in outputs:
            yield from flattened(each)


def constants_of(network, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """Anchors, grids and the like, which a network holds beside its weights."""
    return {
        name: each.value.asnumpy()
        for name, each in network.collect_params().items()
        if isinstance(each, mx.gluon.Constant) and name in shapes
    }


def stated_deviations(network) -> dict[str, float]:
    """Standard deviations of the weights that a network starts from normal numbers of its own choice."""
    starts = {name: each.init for name, each in network.collect_params().items()}
    return {name: start._kwargs["sigma"] for name, start in starts.items() if isinstance(start, mx.init.Normal)}


OFFSETS = 0.1  # of deformable convolutions, as a share of what other weights give: a pixel or less


def made_up(model: ZooModel, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights (He et al., or as stated), biases, gammas of 0.5 to 1.5, betas, and means and variances, all different; float32."""
    rng = np.random.default_rng(seed)
    arg = {}
    for name, shape in model.shapes.items():
        if name.endswith("gamma"):
            arg[name] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        elif len(shape) < 2:
            arg[name] = 0.1 * rng.standard_normal(shape, dtype=np.float32)
        else:
            deviation = model.deviations.get(name, np.sqrt(2.0 / max(np.prod(shape[1:]), 1)))
            deviation *= OFFSETS if name.endswith("offset_weight") else 1.0
            arg[name] = (deviation * rng.standard_normal(shape)).astype(np.float32)
    aux = {
        name: rng.uniform(0.5, 1.5, shape).astype(np.float32)
        if name.endswith("var")
        else 0.1 * rng.standard_normal(shape, dtype=np.float32)
        for name, shape in model.states.items()
    }
    return arg | {name: value.astype(np.float32) for name, value in model.constants.items()}, aux
