"""SSD's operators: anchors, training targets, detections."""

import torch
from torch import Tensor

from weights_convert.translate.attributes import Single
from weights_convert.translate.operators.boxes import overlap, suppressed
from weights_convert.translate.registry import operator


@operator("_contrib_MultiBoxPrior")
def multibox_prior(
    data: Tensor,
    *,
    sizes: tuple[Single, ...] = (1.0,),
    ratios: tuple[Single, ...] = (1.0,),
    clip: bool = False,
    steps: tuple[Single, ...] = (-1.0, -1.0),
    offsets: tuple[Single, ...] = (0.5, 0.5),
) -> Tensor:
    """[1, H*W*(sizes+ratios-1), 4] corners relative to the image: all sizes with the first ratio, then the other ratios."""
    height, width = data.shape[2:]
    step_y, step_x = (steps[0] if steps[0] > 0 else 1.0 / height), (steps[1] if steps[1] > 0 else 1.0 / width)
    like = {"dtype": data.dtype, "device": data.device}
    y = (torch.arange(height, **like) + offsets[0]) * step_y
    x = (torch.arange(width, **like) + offsets[1]) * step_x
    shapes = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    halves = torch.tensor(
        [(size * height / width * ratio**0.5 / 2, size / ratio**0.5 / 2) for size, ratio in shapes], **like
    )
    centre_y, centre_x = torch.meshgrid(y, x, indexing="ij")
    centre = torch.stack((centre_x, centre_y), -1)[:, :, None, :]
    boxes = torch.cat((centre - halves, centre + halves), -1).reshape(1, -1, 4)
    return boxes.clamp(0, 1) if clip else boxes


@operator("_contrib_MultiBoxDetection", decides=True)
def multibox_detection(
    cls_prob: Tensor,
    loc_pred: Tensor,
    anchor: Tensor,
    *,
    clip: bool = True,
    threshold: Single = 0.01,
    background_id: int = 0,
    nms_threshold: Single = 0.5,
    force_suppress: bool = False,
    variances: tuple[Single, ...] = (0.1, 0.1, 0.2, 0.2),
    nms_topk: int = -1,
) -> Tensor:
    """[N, A, 6] = (class, score, x1, y1, x2, y2), best first; suppressed rows keep their numbers but have class -1.

    Places beyond nms_topk keep the rows that stood there before sorting, with class -1. Without suppression (nms_threshold
    outside (0, 1]) nothing is sorted.
    """
    batch, _, count = cls_prob.shape
    score, label = cls_prob[:, 1:].max(1)
    offsets = loc_pred.reshape(batch, count, 4) * torch.tensor(variances, dtype=loc_pred.dtype, device=loc_pred.device)
    sides = anchor[..., 2:] - anchor[..., :2]
    centre = (anchor[..., :2] + anchor[..., 2:]) * 0.5 + offsets[..., :2] * sides
    half = torch.exp(offsets[..., 2:]) * sides * 0.5
    boxes = torch.cat((centre - half, centre + half), -1)
    boxes = boxes.clamp(0, 1) if clip else boxes
    rows = torch.cat((label.to(score.dtype)[..., None], score[..., None], boxes), -1)
    output = torch.full_like(rows, -1)
    for image in range(batch):
        kept = rows[image][score[image] >= threshold]
        if 0 < nms_threshold <= 1:
            best = kept[torch.argsort(kept[:, 1], descending=True, stable=True)]
            best = best[:nms_topk] if nms_topk > 0 else best
            least = torch.nextafter(torch.tensor(nms_threshold), torch.tensor(0.0)).item()  # MXNet: >=, ours: >
            gone = suppressed(best[:, 2:], None if force_suppress else best[:, 0], least)
            best = torch.cat((torch.where(gone, -1.0, best[:, 0])[:, None], best[:, 1:]), 1)
            rest = kept[len(best) :]  # MXNet leaves these places as they were before sorting
            kept = torch.cat((best, torch.cat((torch.full_like(rest[:, :1], -1), rest[:, 1:]), 1)))
        output[image, : len(kept)] = kept
    return output


def matched(ious: Tensor, overlap_threshold: Single) -> tuple[Tensor, Tensor]:
    """[A] the ground truth of each anchor or -1, and its overlap: first each truth's best anchor, then all good ones."""
    anchors, truths = ious.shape
    truth = torch.full((anchors,), -1, dtype=torch.long, device=ious.device)
    best = torch.full((anchors,), -1.0, dtype=ious.dtype, device=ious.device)
    open_ious = ious.clone()
    for _ in range(truths):
        place = int(torch.argmax(open_ious))
        anchor, column = divmod(place, truths)
        if open_ious[anchor, column] <= 1e-6:
            break
        truth[anchor], best[anchor] = column, ious[anchor, column]
        open_ious[anchor, :], open_ious[:, column] = -1, -1
    value, column = ious.max(1)
    free = truth < 0
    best = torch.where(free, value, best)
    good = free & (value > overlap_threshold)
    return torch.where(good, column, truth), best


def mined(prob: Tensor, best: Tensor, positive: Tensor, ratio: float, thresh: float, minimum: int) -> Tensor:
    """bool [A]: the hardest negatives, `ratio` for each positive: those least sure of being background."""
    wanted = min(max(int(int(positive.sum()) * ratio), minimum), len(best) - int(positive.sum()))
    candidate = ~positive & (best < thresh)
    background = torch.softmax(prob, 0)[0]
    order = torch.argsort(torch.where(candidate, background, torch.full_like(background, 2.0)), stable=True)
    chosen = torch.zeros_like(positive)
    chosen[order[: min(wanted, int(candidate.sum()))]] = True
    return chosen


@operator("_contrib_MultiBoxTarget", outputs=3, decides=True)
def multibox_target(
    anchor: Tensor,
    label: Tensor,
    cls_pred: Tensor,
    *,
    overlap_threshold: Single = 0.5,
    ignore_label: Single = -1.0,
    negative_mining_ratio: Single = -1.0,
    negative_mining_thresh: Single = 0.5,
    minimum_negative_samples: int = 0,
    variances: tuple[Single, ...] = (0.1, 0.1, 0.2, 0.2),
) -> tuple[Tensor, Tensor, Tensor]:
    """Box offsets [N, A*4], their mask, and class targets [N, A] (0 background) for labels [N, G, 5+], padded with -1."""
    boxes = anchor.reshape(-1, 4)
    sides, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, :2] + boxes[:, 2:]) * 0.5
    scale = torch.tensor(variances, dtype=boxes.dtype, device=boxes.device)
    offsets, masks, classes = [], [], []
    for image in range(label.shape[0]):
        count = int((label[image, :, 0] != -1).long().cumprod(0).sum())
        truths = label[image, :count]
        offset, mask = torch.zeros_like(boxes), torch.zeros_like(boxes)
        target = torch.full((len(boxes),), 0.0 if count == 0 else ignore_label, dtype=boxes.dtype, device=boxes.device)
        if count:
            truth, best = matched(overlap(boxes[:, None], truths[None, :, 1:5]), overlap_threshold)
            positive = truth >= 0
            mining = negative_mining_ratio > 0
            negative = (
                mined(
                    cls_pred[image],
                    best,
                    positive,
                    negative_mining_ratio,
                    negative_mining_thresh,
                    minimum_negative_samples,
                )
                if mining
                else ~positive
            )
            chosen = truths[truth.clamp(min=0)]
            middle, size = (chosen[:, 1:3] + chosen[:, 3:5]) * 0.5, chosen[:, 3:5] - chosen[:, 1:3]
            coded = torch.cat(((middle - centre) / sides, torch.log(size / sides)), 1) / scale
            mask = positive[:, None].to(boxes.dtype).expand(-1, 4)
            offset = torch.where(positive[:, None], coded, offset)
            target = torch.where(negative, torch.zeros_like(target), target)
            target = torch.where(positive, chosen[:, 0] + 1, target)
        offsets.append(offset.flatten())
        masks.append(mask.flatten())
        classes.append(target)
    return torch.stack(offsets), torch.stack(masks), torch.stack(classes)
