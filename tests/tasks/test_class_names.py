"""Names and colours of classes stand where the original has them."""

from dcn_tasks.class_names import CITYSCAPES, COCO, VOC, class_names, label_colours
from dcn_tasks.config import load_config


def test_names_follow_the_order_of_the_data_sets() -> None:
    voc = class_names(load_config("rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem"))
    assert (voc[0], voc[1], voc[15], voc[20]) == ("background", "aeroplane", "person", "tvmonitor")
    coco = class_names(load_config("rfcn/resnet_v1_101_coco_trainval_rfcn_end2end_ohem"))
    assert (len(coco), coco[1], coco[19], coco[80]) == (81, "person", "sheep", "toothbrush")
    streets = class_names(load_config("deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_base"))
    assert (len(streets), streets[0], streets[18]) == (19, "road", "bicycle")
    assert sorted(VOC) == VOC and len(set(COCO)) == 80 and len(CITYSCAPES) == 19


def test_own_names_win_and_a_wrong_count_falls_back_to_numbers() -> None:
    assert class_names(load_config("demo/narrow_rfcn")) == ["background", "disc", "star", "ring", "cross"]
    cfg = load_config("rfcn/resnet_v1_101_voc0712_rfcn_end2end_ohem", dataset__NUM_CLASSES=3)
    assert class_names(cfg) == ["class 0", "class 1", "class 2"]


def test_label_colours_are_those_of_the_data_sets_tools() -> None:
    voc = label_colours(load_config("deeplab/deeplab_resnet_v1_101_voc12_segmentation_base"))
    assert [tuple(voc[index]) for index in (0, 1, 15, 255)] == [
        (0, 0, 0),
        (128, 0, 0),
        (192, 128, 128),
        (224, 224, 192),
    ]
    streets = label_colours(load_config("deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_base"))
    assert tuple(streets[13]) == (0, 0, 142)
