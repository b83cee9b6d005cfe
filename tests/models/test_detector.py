"""From pixels to boxes through a network of a configuration."""

import numpy as np
import pytest
import torch
from tolerances import FOLDED_PROBABILITY, FOLDED_ROI_PIXELS

from dcn_tasks.config import load_config
from dcn_tasks.detections import detections
from dcn_tasks.errors import InputError
from dcn_tasks.images import to_network_input
from torch_port.models import Detector, build_network

CONFIG = load_config("demo/narrow_rfcn_dcn")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build_network(CONFIG)
    torch.nn.init.normal_(network.head.cls_maps.weight, std=0.02)  # scores that differ
    return network.eval()


def picture(height=120, width=90):
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_detections_are_the_networks_outputs_decoded(network):
    image = picture()
    found, raw = Detector(network, CONFIG)(image)
    data, im_info = to_network_input(image, CONFIG)
    with torch.inference_mode():
        rois, cls_prob, bbox_pred = (output.numpy() for output in network(torch.tensor(data), torch.tensor(im_info)))
    np.testing.assert_array_equal(raw.rois, rois)
    np.testing.assert_array_equal(raw.cls_prob, cls_prob)
    np.testing.assert_array_equal(raw.im_info, im_info[0])
    limits = {"score_thresh": 1e-3, "nms_thresh": CONFIG.TEST.NMS, "max_per_image": CONFIG.TEST.max_per_image}
    expected = detections(rois, cls_prob, bbox_pred, im_info[0], class_agnostic=True, **limits)
    assert len(expected) > 0
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.classes, expected.classes)


def test_boxes_are_in_pixels_of_the_image_that_came(network):
    """120 x 90 is enlarged to 256 x 192; boxes come back inside 120 x 90."""
    found, raw = Detector(network, CONFIG)(picture())
    assert tuple(raw.im_info[:2]) == (256, 192)
    assert found.boxes.min() >= 0
    assert found.boxes[:, 0::2].max() <= 89.6 and found.boxes[:, 1::2].max() <= 119.6  # (192 - 1) / scale


def test_score_threshold_drops_boxes(network):
    detector = Detector(network, CONFIG)
    scores = detector(picture())[0].scores
    middle = float(np.median(scores))
    assert (detector(picture(), score_thresh=middle)[0].scores > middle).all()


def test_folded_detector_finds_the_same_boxes(network):
    plain, folded = Detector(network, CONFIG), Detector(network, CONFIG, fold=True)
    found, expected = folded(picture())[1], plain(picture())[1]
    np.testing.assert_allclose(found.rois, expected.rois, rtol=0, atol=FOLDED_ROI_PIXELS)
    np.testing.assert_allclose(found.cls_prob, expected.cls_prob, rtol=0, atol=FOLDED_PROBABILITY)


def test_what_is_no_image_is_refused(network):
    with pytest.raises(InputError, match="expected RGB uint8"):
        Detector(network, CONFIG)(np.zeros((10, 10), np.uint8))
