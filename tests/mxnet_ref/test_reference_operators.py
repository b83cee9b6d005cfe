"""The original's Python operators inside MXNet: against loops written from their rules, in both precisions."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.mxnet
DTYPES = ["float32", "float64"]


def run_custom(op_type: str, inputs: dict[str, np.ndarray], dtype: str, **attributes) -> list[np.ndarray]:
    """Outputs of one Custom operator alone."""
    import mxnet as mx

    from mxnet_ref.executor import bind, run

    variables = {name: mx.sym.Variable(name) for name in inputs}
    return run(bind(mx.sym.Custom(op_type=op_type, name="op", **variables, **attributes), {}, {}, inputs, dtype=dtype))


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 60, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 35, (count, 2))], axis=1)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes, far edges inclusive."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    area = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(area) - width * height)


def kept_by_loop(prob: np.ndarray, deltas: np.ndarray, im_info: np.ndarray, thresh: float) -> list[list[float]]:
    """Proposals one box at a time, best first: stride 16, scale 2, ratio 1, so that the anchor is [-8, -8, 23, 23]."""
    height, width, _ = im_info
    candidates = []
    for y in range(int(height / 16)):
        for x in range(int(width / 16)):
            dx, dy, dw, dh = (float(deltas[0, k, y, x]) for k in range(4))
            centre_x, centre_y = 16 * x - 8 + 0.5 * 31 + dx * 32, 16 * y - 8 + 0.5 * 31 + dy * 32
            half_w, half_h = 0.5 * (np.exp(dw) * 32 - 1), 0.5 * (np.exp(dh) * 32 - 1)
            x1, x2 = np.clip([centre_x - half_w, centre_x + half_w], 0, width - 1)
            y1, y2 = np.clip([centre_y - half_h, centre_y + half_h], 0, height - 1)
            candidates.append((float(prob[0, 1, y, x]), [x1, y1, x2, y2]))
    candidates.sort(key=lambda pair: -pair[0])
    kept: list[list[float]] = []
    for _, box in candidates:
        if all(overlap(np.array(box), np.array(other)) <= thresh for other in kept):
            kept.append(box)
    return kept


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("post", [4, 40])
def test_proposal_is_the_loop_over_anchors(dtype, post):
    from dcn_tasks.streams import Draws
    from mxnet_ref.operators import set_draws

    rng = np.random.default_rng(3)
    inputs = {
        "cls_prob": rng.random((1, 2, 5, 6)),
        "bbox_pred": rng.normal(0, 0.3, (1, 4, 5, 6)),
        "im_info": np.array([[79.0, 96.0, 1.0]]),  # 79 / 16 = 4.9: the fifth row is not used
    }
    inputs = {name: value.astype(dtype) for name, value in inputs.items()}
    expected = kept_by_loop(inputs["cls_prob"], inputs["bbox_pred"], inputs["im_info"][0], 0.5)
    set_draws(Draws(5, 2))
    rois, scores = run_custom(
        "proposal", inputs, dtype, feat_stride=16, scales=(2,), ratios=(1,), output_score=True,
        rpn_pre_nms_top_n=100, rpn_post_nms_top_n=post, threshold=0.5, rpn_min_size=0,
    )  # fmt: skip
    kept = np.array(expected[:post])
    assert rois.shape == (post, 5) and rois.dtype == dtype and not rois[:, 0].any()
    assert np.allclose(rois[: len(kept), 1:], kept, rtol=0, atol=1e-5)
    assert (np.diff(scores[: len(kept), 0]) < 0).all()
    padding = {tuple(row) for row in rois[len(kept) :, 1:]}
    assert padding <= {tuple(row) for row in rois[: len(kept), 1:]}
    assert (len(kept) < post) == (post == 40), "one case fills up by repetition, the other does not"


def test_proposal_padding_follows_the_draws_of_the_step():
    from dcn_tasks.streams import Draws
    from mxnet_ref.operators import set_draws

    rng = np.random.default_rng(3)
    inputs = {
        "cls_prob": rng.random((1, 2, 5, 6)),
        "bbox_pred": rng.normal(0, 0.3, (1, 4, 5, 6)),
        "im_info": np.array([[80.0, 96.0, 1.0]]),
    }
    found = []
    for draws in (Draws(5, 2), Draws(5, 3), Draws(5, 2)):
        set_draws(draws)
        attributes = {"feat_stride": 16, "scales": (2,), "ratios": (1,), "threshold": 0.5, "rpn_min_size": 0}
        found += run_custom("proposal", inputs, "float32", rpn_post_nms_top_n=40, **attributes)
    assert (found[0] == found[2]).all()
    assert (found[0] != found[1]).any()


@pytest.mark.parametrize("mode", ["original", "modern"])
def test_both_frameworks_fill_batches_up_by_the_rule_of_the_mode(mode):
    from dcn_tasks.config import load_config
    from mxnet_ref.heads.rois import sampling_settings
    from torch_port.models import build_network

    cfg = load_config("demo/narrow_rfcn_dcn", dataset__MODE=mode)
    ours = build_network(cfg).proposal_target.arguments["padding_from_all"]
    assert ours == json.loads(sampling_settings(cfg)).get("padding_from_all", True) == (mode == "original")


def sampling_attributes(batch_rois: int) -> dict:
    from dcn_tasks.config import load_config
    from mxnet_ref.heads.rois import sampling_settings

    cfg = load_config("demo/narrow_rfcn_dcn")
    return {"num_classes": 2, "batch_images": 1, "batch_rois": batch_rois, "fg_fraction": 0.25, "cfg": sampling_settings(cfg)}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_proposal_target_keeps_every_roi_and_object_foreground_first(dtype):
    rng = np.random.default_rng(1)
    truth = np.concatenate([boxes(rng, 3), [[2], [1], [4]]], axis=1)
    near = truth[rng.integers(0, 3, 6), :4] + rng.uniform(-3, 3, (6, 4))
    rois = np.concatenate([np.zeros((14, 1)), np.concatenate([boxes(rng, 8), near])], axis=1).astype(np.float32)
    truth = truth.astype(np.float32)
    sampled, labels, targets, weights = run_custom(
        "proposal_target", {"rois": rois, "gt_boxes": truth}, dtype, **sampling_attributes(-1)
    )
    candidates = [*rois[:, 1:].astype(float), *truth[:, :4].astype(float)]
    rows = {True: [], False: []}
    for box in candidates:
        overlaps = [overlap(box, other[:4].astype(float)) for other in truth]
        best = int(np.argmax(overlaps))
        rows[overlaps[best] >= 0.5].append((box, best, overlaps[best]))
    assert rows[True] and rows[False]
    assert sampled.shape == (17, 5)
    for index, (box, best, iou) in enumerate(rows[True] + rows[False]):
        assert np.allclose(sampled[index], [0, *box], rtol=0, atol=1e-4)
        assert labels[index] == (truth[best, 4] if iou >= 0.5 else 0)
        expected = np.zeros(8)
        if iou >= 0.5:
            size = [box[2] - box[0] + 1, box[3] - box[1] + 1]
            gt_size = [truth[best, 2] - truth[best, 0] + 1, truth[best, 3] - truth[best, 1] + 1]
            for axis in (0, 1):
                shift = (truth[best, axis] + 0.5 * (gt_size[axis] - 1)) - (box[axis] + 0.5 * (size[axis] - 1))
                expected[4 + axis] = shift / size[axis] / 0.1
                expected[6 + axis] = np.log(gt_size[axis] / size[axis]) / 0.2
        assert np.allclose(targets[index], expected, rtol=0, atol=1e-4)
        assert (weights[index] == ([0] * 4 + [1] * 4 if iou >= 0.5 else 0)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_hard_example_mining_keeps_the_largest_losses_and_the_first_of_equals(dtype):
    rng = np.random.default_rng(2)
    count, classes = 12, 5
    inputs = {
        "cls_score": rng.normal(0, 2, (count, classes)),
        "bbox_pred": rng.normal(0, 1, (count, 8)),
        "labels": rng.integers(0, classes, count).astype(float),
        "bbox_targets": rng.normal(0, 1, (count, 8)),
        "bbox_weights": np.zeros((count, 8)),
    }
    inputs["bbox_weights"][inputs["labels"] > 0, 4:] = 1
    for name in inputs:  # rows 3 and 7 have the same loss
        inputs[name][7] = inputs[name][3]
    losses = []
    for row in range(count):
        score = inputs["cls_score"][row]
        loss = np.log(np.exp(score).sum()) - score[int(inputs["labels"][row])]
        for k in range(8):
            x = inputs["bbox_pred"][row, k] - inputs["bbox_targets"][row, k]
            loss += inputs["bbox_weights"][row, k] * (0.5 * x * x if abs(x) < 1 else abs(x) - 0.5)
        losses.append(loss)
    order = sorted(range(count), key=lambda row: (-losses[row], row))
    for kept in range(count + 1):
        labels, weights = run_custom(
            "BoxAnnotatorOHEM", inputs, dtype, num_classes=classes, num_reg_classes=2, roi_per_img=kept
        )
        for place, row in enumerate(order):
            assert labels[row] == (inputs["labels"][row] if place < kept else -1)
            assert (weights[row] == (inputs["bbox_weights"][row] if place < kept else 0)).all()


def test_operators_pass_no_gradient():
    import mxnet as mx

    from mxnet_ref.executor import bind

    rng = np.random.default_rng(0)
    data = mx.sym.Variable("data")
    rois = mx.sym.Custom(
        op_type="proposal", cls_prob=mx.sym.sigmoid(data), bbox_pred=mx.sym.Variable("bbox_pred"),
        im_info=mx.sym.Variable("im_info"), scales=(2,), ratios=(1,), rpn_post_nms_top_n=4, rpn_min_size=0,
    )  # fmt: skip
    inputs = {
        "data": rng.normal(size=(1, 2, 5, 6)),
        "bbox_pred": rng.normal(0, 0.1, (1, 4, 5, 6)),
        "im_info": [[80, 96, 1]],
    }
    inputs = {name: np.array(value, np.float32) for name, value in inputs.items()}
    executor = bind(rois, {}, {}, inputs, gradients=["data", "bbox_pred"])
    for name in ("data", "bbox_pred"):
        executor.grad_dict[name][:] = 7
    executor.forward(is_train=True)
    executor.backward([mx.nd.ones((4, 5))])
    assert not executor.grad_dict["data"].asnumpy().any()
    assert not executor.grad_dict["bbox_pred"].asnumpy().any()


def test_an_operators_mistake_reaches_the_user_and_is_forgotten_after(capfd):
    rng = np.random.default_rng(0)
    inputs = {
        "cls_prob": rng.random((1, 2, 5, 6)),
        "bbox_pred": np.full((1, 4, 5, 6), np.nan),
        "im_info": np.array([[80.0, 96.0, 1.0]]),
    }
    attributes = {"scales": (2,), "ratios": (1,), "rpn_post_nms_top_n": 4, "rpn_min_size": 0}
    with pytest.raises(ValueError, match="NaN"):
        run_custom("proposal", inputs, "float32", **attributes)
    assert "operator proposal failed" in capfd.readouterr().err
    inputs["bbox_pred"] = np.zeros((1, 4, 5, 6))
    assert run_custom("proposal", inputs, "float32", **attributes)[0].shape == (4, 5)


def test_a_pickled_configuration_is_refused_unread():
    from mxnet_ref.operators.proposal_target import ProposalTargetProp

    pickled = "ccopy_reg\n_reconstructor\np0\n(ceasydict\nEasyDict\n"
    with pytest.raises(ValueError, match="never loaded"):
        ProposalTargetProp(num_classes="2", cfg=pickled)


@pytest.mark.parametrize("text", ["__import__('os')", "(1, 'a')", "[True]"])
def test_numbers_in_attributes_are_numbers(text):
    from mxnet_ref.operators.literals import number_tuple

    with pytest.raises(ValueError):
        number_tuple(text)


def test_a_process_with_an_uncaught_mistake_ends(tmp_path):
    """MXNet's engine may wait for ever at exit once an exception went through it."""
    import subprocess
    import sys

    script = tmp_path / "fails.py"
    script.write_text(
        "from test_reference_training import batches\n"
        "from tiny_network import tiny\n"
        "import mxnet_ref\n"
        "import mxnet_ref.operators.box_annotator_ohem as module\n"
        "def fail(*args, **more): raise ValueError('planted')\n"
        "module.select_hard_rois = fail\n"
        "small = tiny()\n"
        "mxnet_ref.train(small, batches(small, 1), *mxnet_ref.init_params(small), steps=1, progress=False)\n"
    )
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent), *sys.path])}
    command = [sys.executable, "-W", "ignore", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("ValueError: planted")
