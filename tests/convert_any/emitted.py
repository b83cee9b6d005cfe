"""The readable source of a converted module, loaded as whoever gets it loads it."""

import importlib.util
from pathlib import Path

from torch import fx, nn

from weights_convert import save_weights
from weights_convert.translate import mxnet_names
from weights_convert.translate.source import to_source


def emitted_model(module: fx.GraphModule, folder: Path) -> nn.Module:
    """Writes model.py and model.safetensors to the folder and loads them from there."""
    (folder / "model.py").write_text(to_source(module))
    state = module.state_dict()
    save_weights(folder / "model.safetensors", {name: state[path] for name, path in mxnet_names(module).items()}, {})
    spec = importlib.util.spec_from_file_location("emitted_model", folder / "model.py")
    emitted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(emitted)
    return emitted.Model().load(folder / "model.safetensors")
