"""Parameters to start from, which of them are trained, and how fast: as in the original."""

from collections.abc import Iterable
from pathlib import Path

import mxnet as mx
import numpy as np

from dcn_tasks.config import Config, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.initial import initial_value, is_new_layer
from mxnet_ref.build import build_symbol
from mxnet_ref.checkpoint import checkpoint_path, load_checkpoint
from mxnet_ref.executor import Arrays, parameter_shapes


def init_params(config: str | Path | Config, *, seed: int = 0, pretrained: bool = True) -> tuple[Arrays, Arrays]:
    """Parameters as the original starts with: the pretrained backbone; new layers N(0, 0.01) with zero biases; offset
    layers zero. Without a pretrained backbone: MSRA's N(0, 2 / fan-in) and the identity as normalisation.

    Args: pretrained: whether to read the checkpoint that network.pretrained names, if it names one.
    Returns: (arg, aux), float32 arrays by MXNet's names.
    Raises: InputError when the pretrained checkpoint is missing or does not fit.
    """
    cfg = load_config(config)
    arg_shapes, aux_shapes = network_shapes(cfg)
    arg = {name: initial_value(name, shape, seed) for name, shape in arg_shapes.items()}
    aux = {name: initial_value(name, shape, seed) for name, shape in aux_shapes.items()}
    if pretrained and cfg.network.pretrained:
        take_pretrained(cfg, arg, aux)
    return arg, aux


def network_shapes(cfg: Config) -> tuple[dict, dict]:
    """Shapes of a configuration's parameters and auxiliary states; they don't depend on the image's size."""
    inputs = {"data": (1, 3, 128, 128), "im_info": (1, 3)}
    symbol = build_symbol(cfg, False)
    return parameter_shapes(symbol, {name: inputs[name] for name in symbol.list_arguments() if name in inputs})


def take_pretrained(cfg: Config, arg: Arrays, aux: Arrays) -> None:
    """Replace the backbone's arrays by those of the checkpoint that the configuration names, in place."""
    path = checkpoint_path(cfg.network.pretrained, cfg.network.pretrained_epoch)
    found = load_checkpoint(cfg.network.pretrained, cfg.network.pretrained_epoch)
    for own, loaded in zip((arg, aux), found, strict=True):
        for name, value in own.items():
            if is_new_layer(name):
                continue
            if name not in loaded:
                raise InputError(
                    f"{path}: expected the backbone's {name}, which is not there: is it another network's?"
                )
            if loaded[name].shape != value.shape:
                raise InputError(f"{path}: {name}: expected {list(value.shape)}, got {list(loaded[name].shape)}")
            own[name] = loaded[name].astype(np.float32)


def fixed_parameters(names: Iterable[str], cfg: Config) -> list[str]:
    """Those parameters that are not trained: their name contains a piece of network.FIXED_PARAMS."""
    return [name for name in names if any(piece in name for piece in cfg.network.FIXED_PARAMS)]


def learning_rate_multipliers(symbol: mx.sym.Symbol) -> dict[str, float]:
    """Multipliers other than 1 that nodes give to their parameters (conv_new_1: 3 for weight and bias)."""
    attrs = symbol.attr_dict()
    given = {name: float(attrs.get(name, {}).get("__lr_mult__", 1)) for name in symbol.list_arguments()}
    return {name: value for name, value in given.items() if value != 1}
