"""The proposal module pads as dcn_tasks does, so that both frameworks repeat the same rows."""

import numpy as np
import pytest
import torch
from tolerances import PROPOSAL_PIXELS

from dcn_tasks.proposals import propose
from dcn_tasks.streams import Draws
from torch_port.layers import Proposal, ProposalLimits

ANCHORS = {"feature_stride": 16, "scales": (1, 2), "ratios": (0.5, 1, 2)}
LIMITS = ProposalLimits(pre_nms_top_n=80, post_nms_top_n=40, nms_thresh=0.3, min_size=0)


def maps(images=1):
    rng = np.random.default_rng(11)
    prob = rng.permutation(images * 12 * 30).reshape(images, 12, 5, 6).astype("float32") / (images * 360)
    delta = rng.normal(scale=0.3, size=(images, 24, 5, 6)).astype("float32")
    return prob, delta, np.tile(np.array([80, 96, 1], "float32"), (images, 1))


def run(images=1, draws=None, variant="python"):
    return Proposal(**ANCHORS, variant=variant)(*map(torch.tensor, maps(images)), LIMITS, draws).numpy()


def test_rows_and_padding_are_those_of_the_original_operator():
    prob, delta, im_info = maps()
    limits = {name: getattr(LIMITS, name) for name in ("pre_nms_top_n", "post_nms_top_n", "nms_thresh", "min_size")}
    expected = propose(prob[0, 6:], delta[0], im_info[0], **ANCHORS, **limits, draws=Draws(5, 3))
    assert 0 < expected.num_valid < 40  # there is something to pad
    np.testing.assert_allclose(run(draws=Draws(5, 3)), expected.rois, rtol=0, atol=PROPOSAL_PIXELS)


def test_other_streams_repeat_other_rows():
    one, other = run(draws=Draws(1)), run(draws=Draws(2))
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(np.unique(one, axis=0), np.unique(run(), axis=0))


def test_without_streams_every_call_is_alike():
    np.testing.assert_array_equal(run(), run())


def test_every_image_has_its_own_rows():
    rois = run(images=2)
    assert rois.shape == (80, 5)
    assert rois[:, 0].tolist() == [0.0] * 40 + [1.0] * 40


@pytest.mark.parametrize("variant", ["python", "cxx"])
def test_the_number_of_rows_is_fixed(variant):
    assert run(variant=variant).shape == (40, 5)


def test_no_gradient_flows_through_boxes():
    prob, delta, im_info = map(torch.tensor, maps())
    rois = Proposal(**ANCHORS)(prob.requires_grad_(), delta.requires_grad_(), im_info, LIMITS)
    assert not rois.requires_grad
