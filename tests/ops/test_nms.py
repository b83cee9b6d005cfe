"""nms against MXNet's box_nms and a loop written from the rule."""

import numpy as np
import pytest
import torch
from instruction_sets import available, instruction_set

from dcn_tasks.nms import nms as loop_nms
from torch_port.ops import nms


def crowd(count: int, seed: int, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping boxes and scores, in steps of 1/levels so that scores tie; integers, so that IoU is exact alike."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 80, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(0, 40, (count, 2))], 1).astype(np.float32)
    scores = rng.uniform(0.01, 1, count).astype(np.float32)
    return boxes, scores if levels is None else np.ceil(scores * levels).astype(np.float32) / np.float32(levels)


@pytest.mark.mxnet
@pytest.mark.parametrize("thresh", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("count", [1, 7, 33, 400])
def test_keeps_what_mxnets_box_nms_keeps(count: int, thresh: float):
    import mxnet as mx

    boxes, scores = crowd(count, seed=count)
    far_edge_exclusive = boxes + np.float32([0, 0, 1, 1])  # box_nms has no + 1
    rows = np.concatenate([scores[:, None], far_edge_exclusive], 1)
    kept = mx.nd.contrib.box_nms(
        mx.nd.array(rows), overlap_thresh=thresh, coord_start=1, score_index=0, id_index=-1, force_suppress=True
    ).asnumpy()
    expected = kept[kept[:, 0] >= 0]
    keep = nms(torch.from_numpy(boxes), torch.from_numpy(scores), thresh).numpy()
    np.testing.assert_array_equal(rows[keep], expected)


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [None, 5])
@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 500])
def test_keeps_what_the_original_loop_keeps_ties_included(count: int, levels: int | None, dtype: torch.dtype, isa: str):
    boxes, scores = crowd(count, seed=count + 1, levels=levels)
    expected = loop_nms(np.concatenate([boxes, scores[:, None]], 1), 0.45)
    with instruction_set(isa):
        keep = nms(torch.from_numpy(boxes).to(dtype), torch.from_numpy(scores).to(dtype), 0.45)
    assert keep.dtype == torch.int64
    np.testing.assert_array_equal(keep.numpy(), expected)


def test_overlap_equal_to_the_threshold_is_kept():
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 4]])  # IoU exactly 0.5
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert nms(boxes, scores, 0.49).tolist() == [0]


def test_far_edge_is_inclusive():
    boxes = torch.tensor([[0.0, 0, 4, 4], [5, 0, 9, 4], [4, 0, 8, 4]])  # touching; sharing one column of five
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert nms(boxes, scores, 0.0).tolist() == [0, 1]
    assert nms(boxes[[0, 2]], scores[[0, 2]], 0.12).tolist() == [0, 1]  # 5 / 45
    assert nms(boxes[[0, 2]], scores[[0, 2]], 0.11).tolist() == [0]


def test_damaged_boxes_neither_suppress_nor_are_suppressed_and_nan_scores_come_last():
    boxes = torch.tensor([[0.0, 0, 9, 9], [float("nan"), 0, 9, 9], [0, 0, 9, 9], [0, 0, float("inf"), 9]])
    scores = torch.tensor([float("nan"), 0.5, 0.9, float("-inf")])
    assert nms(boxes, scores, 0.5).tolist() == [2, 1, 3]


def test_strides_do_not_change_the_result():
    boxes, scores = (torch.from_numpy(a) for a in crowd(60, seed=3))
    assert torch.equal(
        nms(boxes.T.contiguous().T, torch.stack([scores, scores], 1)[:, 0], 0.4), nms(boxes, scores, 0.4)
    )


WRONG = {
    "boxes": (((3, 5), (3,)), r"boxes: expected \[N, 4\] = x1, y1, x2, y2, got \[3, 5\]"),
    "scores": (((3, 4), (2,)), r"scores: expected \[3\], got \[2\]"),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_argument_is_refused_in_words(name: str, device: str):
    (boxes, scores), message = WRONG[name]
    with pytest.raises(RuntimeError, match="nms: " + message):
        nms(torch.zeros(boxes, device=device), torch.zeros(scores, device=device), 0.5)


def test_opcheck():
    boxes, scores = (torch.from_numpy(a) for a in crowd(20, seed=4))
    torch.library.opcheck(torch.ops.dcn.nms.default, (boxes, scores, 0.5))
