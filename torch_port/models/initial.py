"""Initial weights as in the original."""

import math

from torch import nn

from torch_port.layers import BilinearDeconvolution

HEAD_STD = 0.01
ZERO_INITIALISED = (
    "offset_conv",
    "offset_conv2",
    "offset_conv3",
    "cls_offset_maps",
    "bbox_offset_maps",
    "offset",
    "guide",
)


def initialise(network: nn.Module) -> None:
    """Fills every parameter in place, from torch's global generator.

    Backbone convolutions: N(0, sqrt(2 / fan_in)) (MSRA), for training from scratch; normally overwritten by pretrained
    weights. Layers of the RPN and the head: N(0, 0.01), bias 0. Whatever predicts offsets: 0, so that a
    deformable network starts as the plain one. Batch normalisation: identity. Upsampling: bilinear.
    Source: the original's init_weight and get_msra_std.
    """
    for path, module in network.named_modules():
        if isinstance(module, BilinearDeconvolution):
            module.reset_parameters()
        elif path.rpartition(".")[2] in ZERO_INITIALISED:
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
        elif getattr(module, "weight", None) is not None and module.weight.dim() in (2, 4):
            scratch = math.sqrt(2 / module.weight[0].numel())
            nn.init.normal_(module.weight, std=scratch if path.startswith("backbone.") else HEAD_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
