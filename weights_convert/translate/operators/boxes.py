"""Boxes: overlap, suppression, coding, matching."""

import torch
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.registry import operator


def as_corners(boxes: Tensor, form: str) -> Tensor:
    """[..., 4] as x1, y1, x2, y2, from corners or from centre and sides."""
    if form == "corner":
        return boxes
    x, y, width, height = boxes.unbind(-1)
    return torch.stack((x - width / 2, y - height / 2, x + width / 2, y + height / 2), -1)


def as_centers(boxes: Tensor) -> Tensor:
    """[..., 4] corners as centre and sides."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), -1)


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of corner boxes that broadcast; 0 where the union is empty. Far edges are not inclusive."""
    sides = (torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    areas = [(each[..., 2] - each[..., 0]).clamp(min=0) * (each[..., 3] - each[..., 1]).clamp(min=0)
             for each in (one, other)]  # fmt: skip
    union = areas[0] + areas[1] - shared
    return torch.where(union > 0, shared / union, torch.zeros_like(union))


@operator("_contrib_box_iou")
def box_iou(lhs: Tensor, rhs: Tensor, *, format: str = "corner") -> Tensor:
    """Overlap of every box of lhs with every box of rhs."""
    one, other = as_corners(lhs, format), as_corners(rhs, format)
    flat = overlap(one.reshape(-1, 1, 4), other.reshape(1, -1, 4))
    return flat.reshape(tuple(lhs.shape[:-1]) + tuple(rhs.shape[:-1]))


def suppressed(boxes: Tensor, classes: Tensor | None, threshold: Single) -> Tensor:
    """bool [K]: boxes, best first, that overlap a kept one (of their class) by more than the threshold."""
    gone = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for place in range(len(boxes) - 1):
        if gone[place]:
            continue
        hit = overlap(boxes[place], boxes[place + 1 :]) > threshold
        if classes is not None:
            hit = hit & (classes[place + 1 :] == classes[place])
        gone[place + 1 :] |= hit
    return gone


@operator("_contrib_box_nms", "_contrib_box_non_maximum_suppression", decides=True)
def box_nms(
    data: Tensor,
    *,
    overlap_thresh: Single = 0.5,
    valid_thresh: Single = 0.0,
    topk: int = -1,
    coord_start: int = 2,
    score_index: int = 1,
    id_index: int = -1,
    background_id: int = -1,
    force_suppress: bool = False,
    in_format: str = "corner",
    out_format: str = "corner",
) -> Tensor:
    """Kept rows sorted by score, the others all -1; overlap must exceed the threshold, a score valid_thresh.

    Only boxes of one class suppress each other where id_index is given without force_suppress; background rows are dropped.
    """
    rows = data.reshape(-1, data.shape[-2], data.shape[-1])
    output = torch.full_like(rows, -1)
    for image in range(rows.shape[0]):
        scores = rows[image, :, score_index]
        valid = scores > valid_thresh
        if id_index >= 0 and background_id >= 0:
            valid = valid & (rows[image, :, id_index].long() != background_id)
        places = torch.nonzero(valid).flatten()
        order = places[torch.argsort(scores[places], descending=True, stable=True)]
        order = order[:topk] if topk > 0 else order
        candidates = rows[image][order]
        boxes = candidates[:, coord_start : coord_start + 4]
        by_class = candidates[:, id_index] if id_index >= 0 and not force_suppress else None
        kept = candidates[~suppressed(as_corners(boxes, in_format), by_class, overlap_thresh)]
        if in_format != out_format:
            changed = kept[:, coord_start : coord_start + 4]
            changed = as_corners(changed, in_format) if out_format == "corner" else as_centers(changed)
            kept = torch.cat((kept[:, :coord_start], changed, kept[:, coord_start + 4 :]), 1)
        output[image, : len(kept)] = kept
    return output.reshape(data.shape)


@operator("_contrib_box_decode")
def box_decode(
    data: Tensor,
    anchors: Tensor,
    *,
    std0: Single = 1.0,
    std1: Single = 1.0,
    std2: Single = 1.0,
    std3: Single = 1.0,
    clip: Single = -1.0,
    format: str = "center",
) -> Tensor:
    """Corner boxes from offsets [N, A, 4] to anchors [1, A, 4]; offsets of the sides are cut at `clip` unless it is -1."""
    centers = anchors if format == "center" else as_centers(anchors)
    x, y, width, height = centers.unbind(-1)
    dx, dy, dw, dh = data.unbind(-1)
    dw, dh = dw * std2, dh * std3
    if clip > 0:
        dw, dh = dw.clamp(max=clip), dh.clamp(max=clip)
    half_w, half_h = torch.exp(dw) * width * 0.5, torch.exp(dh) * height * 0.5
    cx, cy = dx * std0 * width + x, dy * std1 * height + y
    return torch.stack((cx - half_w, cy - half_h, cx + half_w, cy + half_h), -1)


@operator("_contrib_box_encode", outputs=2)
def box_encode(
    samples: Tensor, matches: Tensor, anchors: Tensor, refs: Tensor, means: Tensor, stds: Tensor
) -> tuple[Tensor, Tensor]:
    """Normalised offsets of matched boxes to anchors (both corners), and a mask: 1 for positive samples, else 0."""
    index = matches.long()[..., None].expand(-1, -1, 4)
    truth, own = as_centers(refs.gather(1, index)), as_centers(anchors.expand(refs.shape[0], -1, -1))
    offsets = torch.cat(((truth[..., :2] - own[..., :2]) / own[..., 2:], torch.log(truth[..., 2:] / own[..., 2:])), -1)
    mask = (samples > 0.5)[..., None].expand(-1, -1, 4).to(offsets.dtype)
    return torch.where(mask > 0, (offsets - means) / stds, torch.zeros_like(offsets)), mask


@operator("_contrib_bipartite_matching", outputs=2, decides=True)
def bipartite_matching(
    data: Tensor, *, is_ascend: bool = False, threshold: Single, topk: int = -1
) -> tuple[Tensor, Tensor]:
    """Pairs of rows and columns, best score first, each at most once: the partner of every row and of every column, or -1.

    A score must be beyond the threshold, not on it. topk > 0 stops after topk + 1 pairs: MXNet counts before it compares.
    """
    scores = data.reshape(-1, *data.shape[-2:])
    rows, columns = torch.full_like(scores[..., 0], -1), torch.full_like(scores[:, 0], -1)
    for image in range(scores.shape[0]):
        flat = scores[image].flatten()
        found = 0
        for place in torch.argsort(flat, descending=not is_ascend, stable=True).tolist():
            row, column = divmod(place, scores.shape[2])
            value = float(flat[place])
            if rows[image, row] != -1 or columns[image, column] != -1:
                continue
            if (value >= threshold) if is_ascend else (value <= threshold):
                break
            rows[image, row], columns[image, column] = column, row
            found += 1
            if 0 < topk < found:
                break
    return rows.reshape(data.shape[:-1]), columns.reshape((*data.shape[:-2], data.shape[-1]))
