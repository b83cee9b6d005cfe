"""The whole network: shapes, outputs, gradients, and what it refuses."""

import numpy as np
import pytest
import torch
from tolerances import FLOAT64_SAME_FUNCTION

from dcn_tasks.errors import InputError
from dcn_tasks.streams import Draws


def test_inference_returns_fixed_numbers_of_rois(narrow):
    with torch.inference_mode():
        rois, cls_prob, bbox_pred = narrow.eval()(torch.randn(1, 3, 96, 80).double(), torch.tensor([[96.0, 80, 1]]))
    assert (rois.shape, cls_prob.shape, bbox_pred.shape) == ((12, 5), (12, 4), (12, 8))
    np.testing.assert_allclose(cls_prob.sum(1).numpy(), 1, rtol=FLOAT64_SAME_FUNCTION)
    assert (rois[:, 3] >= rois[:, 1]).all() and (rois[:, 1:] >= 0).all()


def test_the_same_streams_give_the_same_rois(narrow):
    data, im_info = torch.randn(1, 3, 96, 80).double(), torch.tensor([[96.0, 80, 1]])
    with torch.inference_mode():
        assert torch.equal(narrow(data, im_info, Draws(1))[0], narrow(data, im_info, Draws(1))[0])


def test_two_images_are_each_alone(narrow):
    torch.manual_seed(1)
    data, im_info = torch.randn(2, 3, 96, 80).double(), torch.tensor([[96.0, 80, 1], [90, 70, 1]])
    with torch.inference_mode():
        rois, cls_prob, bbox_pred = narrow.eval()(data, im_info)
        for image in range(2):
            rows = slice(12 * image, 12 * image + 12)
            alone = narrow(data[image : image + 1], im_info[image : image + 1])
            assert (rois[rows, 0] == image).all()
            for found, expected in zip((rois[rows, 1:], cls_prob[rows], bbox_pred[rows]), alone, strict=True):
                np.testing.assert_allclose(
                    found.numpy(), expected[:, -found.shape[1] :].numpy(), rtol=FLOAT64_SAME_FUNCTION
                )


def test_training_outputs_have_the_graphs_shapes(narrow, batch):
    outputs = narrow.forward_train(batch, Draws(0))
    rois = outputs.label.shape[1]
    assert outputs.rpn_cls_prob.shape == (1, 2, 6 * 36)
    assert outputs.rpn_bbox_loss.shape == (1, 24, 6, 6)
    assert outputs.cls_prob.shape == (1, rois, 4)
    assert outputs.bbox_loss.shape == (1, rois, 8)
    assert (outputs.label >= 0).sum() == 8  # hard RoIs
    assert list(outputs.arrays()) == ["rpn_cls_prob", "rpn_bbox_loss", "cls_prob", "bbox_loss", "label"]


def test_loss_is_the_sum_of_its_terms(narrow, batch):
    outputs = narrow.forward_train(batch, Draws(0))
    assert list(outputs.terms) == ["rpn_cls", "rpn_bbox", "cls", "bbox"]
    assert outputs.loss.item() == pytest.approx(sum(term.item() for term in outputs.terms.values()))
    assert outputs.terms["rpn_bbox"].item() == pytest.approx(outputs.rpn_bbox_loss.sum().item() / 16)
    assert outputs.terms["bbox"].item() == pytest.approx(outputs.bbox_loss.sum().item() / 8)


def test_every_parameter_gets_a_gradient(narrow, batch):
    narrow.forward_train(batch, Draws(0)).loss.backward()
    assert [name for name, parameter in narrow.named_parameters() if parameter.grad is None] == []


def test_a_missing_array_is_named(narrow, batch):
    del batch["bbox_weight"]
    with pytest.raises(InputError, match="missing: bbox_weight"):
        narrow.forward_train(batch, Draws(0))


def test_two_images_in_a_training_step_are_refused(narrow, batch):
    batch["data"] = np.concatenate([batch["data"]] * 2)
    with pytest.raises(InputError, match=r"expected one image, data \[1, 3, H, W\], got \(2, 3, 96, 96\)"):
        narrow.forward_train(batch, Draws(0))


def test_unnormalised_head_predicts_deltas_times_stds_plus_means(narrow):
    """Channels of bbox_maps: class slot, then coordinate, then bin; so are the 8 deltas, once bins are averaged."""
    means, stds = (0.1, -0.2, 0.3, 0.4), (0.1, 0.2, 0.3, 0.4)
    features = torch.randn(1, 128, 6, 6, dtype=torch.float64)
    rois = torch.tensor([[0.0, 5, 6, 70, 80], [0, 20, 10, 60, 90]], dtype=torch.float64)
    with torch.no_grad():
        before = narrow.head(features, rois)[1]
        narrow.head.unnormalise_boxes(means, stds)
        after = narrow.head(features, rois)[1]
    np.testing.assert_allclose(
        after.numpy(), before.numpy() * np.tile(stds, 2) + np.tile(means, 2), rtol=FLOAT64_SAME_FUNCTION
    )


def test_autocast_pools_in_float32(narrow):
    """In bfloat16 a RoI corner would move by up to 2 px at 1000."""
    head = narrow.head.float()
    seen = []
    head.cls_pool.register_forward_pre_hook(lambda module, args: seen.extend(arg.dtype for arg in args))
    rois = torch.tensor([[0.0, 5, 6, 70, 80]])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        cls_score, bbox_pred = head(torch.randn(1, 128, 6, 6), rois)
    assert set(seen) == {torch.float32}
    assert cls_score.dtype == bbox_pred.dtype == torch.float32
