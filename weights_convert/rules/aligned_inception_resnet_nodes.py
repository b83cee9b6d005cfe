"""Aligned-Inception-ResNet: which PyTorch module computes each node of its graph."""

from weights_convert.rules.rule import NodeRule

UNIT = "backbone.stage{stage}.{i}"
MODULATION = f"{UNIT}.{{branch}}.modulation{{k}}"
BACKBONE: tuple[NodeRule, ...] = (
    NodeRule("conv1", "backbone.stem.conv"),
    NodeRule("bn_conv1", "backbone.stem.bn"),
    NodeRule("conv1_relu", "backbone.stem.relu"),
    NodeRule("pool1", "backbone.stem.pool"),
    NodeRule("res{unit}_{node}", f"{UNIT}.{{module}}", each="inception_convolution"),
    NodeRule("bn{unit}_{node}", f"{UNIT}.{{module}}", each="inception_norm"),
    NodeRule("res{unit}_{node}_relu", f"{UNIT}.{{module}}", each="inception_relu"),
    NodeRule("res{unit}_{node}_offset", f"{UNIT}.{{branch}}.offset_conv{{k}}", each="inception_deformable"),
    NodeRule("res{unit}_{node}_offset_t", f"{MODULATION}.offset_slice", each="inception_modulated"),
    NodeRule("res{unit}_{node}_mask_t", f"{MODULATION}.mask_slice", each="inception_modulated"),
    NodeRule("res{unit}_{node}_mask_sigmoid", f"{MODULATION}.sigmoid", each="inception_modulated"),
    NodeRule("res{unit}_{node}_mask", f"{MODULATION}.twice", each="inception_modulated"),
    NodeRule("res{unit}_concat", f"{UNIT}.concat", each="inception_unit"),
    NodeRule("res{unit}", f"{UNIT}.add", each="inception_unit"),
    NodeRule("res{unit}_relu", f"{UNIT}.relu2", each="inception_unit"),
)
