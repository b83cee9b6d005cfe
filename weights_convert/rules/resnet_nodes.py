"""ResNet-v1 in the Caffe layout: which PyTorch module computes each node of the original's graphs."""

from weights_convert.rules.rule import NodeRule

BACKBONE: tuple[NodeRule, ...] = (
    NodeRule("conv1", "backbone.stem.conv"),
    NodeRule("bn_conv1", "backbone.stem.bn"),
    NodeRule("conv1_relu", "backbone.stem.relu"),
    NodeRule("pool1", "backbone.stem.pool"),
    NodeRule("res{unit}_branch1", "backbone.stage{stage}.{i}.shortcut.conv", each="projection"),
    NodeRule("bn{unit}_branch1", "backbone.stage{stage}.{i}.shortcut.bn", each="projection"),
    NodeRule("res{unit}_branch2{letter}", "backbone.stage{stage}.{i}.conv{k}", each="convolution"),
    NodeRule("bn{unit}_branch2{letter}", "backbone.stage{stage}.{i}.bn{k}", each="convolution"),
    NodeRule("res{unit}_branch2a_relu", "backbone.stage{stage}.{i}.relu1", each="unit"),
    NodeRule("res{unit}_branch2b_relu", "backbone.stage{stage}.{i}.relu2", each="unit"),
    NodeRule("res{unit}_branch2b_offset", "backbone.stage{stage}.{i}.offset_conv", each="deformable_unit"),
    NodeRule("res{unit}_branch2b_offset_t", "backbone.stage{stage}.{i}.modulation.offset_slice", each="modulated_unit"),
    NodeRule("res{unit}_branch2b_mask_t", "backbone.stage{stage}.{i}.modulation.mask_slice", each="modulated_unit"),
    NodeRule("res{unit}_branch2b_mask_sigmoid", "backbone.stage{stage}.{i}.modulation.sigmoid", each="modulated_unit"),
    NodeRule("res{unit}_branch2b_mask", "backbone.stage{stage}.{i}.modulation.twice", each="modulated_unit"),
    NodeRule("res{unit}", "backbone.stage{stage}.{i}.add", each="unit"),
    NodeRule("res{unit}_relu", "backbone.stage{stage}.{i}.relu3", each="unit"),
)
