"""COCO's average precision, counted by pycocotools."""

import contextlib
import io
from collections.abc import Sequence

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dcn_tasks.data.coco import CocoDataset, api_of
from dcn_tasks.data.dataset import Dataset
from dcn_tasks.detections import Detections
from dcn_tasks.errors import InputError

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def coco_scores(found: Sequence[Detections], dataset: Dataset) -> dict[str, float]:
    """COCO's twelve numbers, percent; NaN where there is nothing to find.

    Args: found: one for each sample of the data set, in order. dataset: of COCO's files, whose areas and crowds are used;
        or any other, whose difficult objects then count as crowds and whose areas are those of the boxes.
    Raises: InputError for COCO's test sets, whose objects nobody has.
    """
    if isinstance(dataset, CocoDataset):
        truth, ids = united(dataset), dataset.category_ids
    else:
        truth, ids = of_samples(dataset), list(range(1, len(dataset.class_names)))
    if not truth.anns:
        raise InputError(f"{dataset.name}: expected annotated objects to score with, there are none (a test set?)")
    rows = results(found, [int(image) for image in image_ids(dataset)], ids)
    answer = {key: truth.dataset[key] for key in ("images", "categories")}
    boxes = [{"id": id, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3], **row} for id, row in enumerate(rows, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(truth, api_of({**answer, "annotations": boxes}), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: 100 * float(v) if v >= 0 else float("nan") for name, v in zip(NAMES, judge.stats, strict=True)}


def coco_results(found: Sequence[Detections], dataset: CocoDataset) -> list[dict]:
    """Detections as COCO's server takes them: image_id, category_id, bbox (x, y, width, height), score."""
    return results(found, [int(image) for image in image_ids(dataset)], dataset.category_ids)


def results(found: Sequence[Detections], images: Sequence[int], category_ids: Sequence[int]) -> list[dict]:
    """Widths and heights count the far edge, as in the original."""
    return [
        {
            "image_id": image,
            "category_id": category_ids[index - 1],
            "bbox": [float(x1), float(y1), float(x2 - x1 + 1), float(y2 - y1 + 1)],
            "score": float(score),
        }
        for image, each in zip(images, found, strict=True)
        for (x1, y1, x2, y2), score, index in zip(each.boxes, each.scores, each.classes, strict=True)
    ]


def image_ids(dataset: Dataset) -> Sequence[int | str]:
    """COCO's ids, or numbers from 1."""
    if isinstance(dataset, CocoDataset):
        return [sample.id for sample in dataset.samples]
    return range(1, len(dataset) + 1)


def refuse_repeated(dataset: CocoDataset) -> None:
    """Raises: InputError where two of its sets have an image in common: its objects would count twice."""
    if len({sample.id for sample in dataset.samples}) < len(dataset.samples):
        raise InputError(f"{dataset.name}: expected image ids that differ between its sets: score them one by one")


def united(dataset: CocoDataset) -> COCO:
    """The annotations of the images in the data set, of all its sets."""
    refuse_repeated(dataset)
    kept = {int(sample.id) for sample in dataset.samples}
    images = [image for api in dataset.apis for image in api.dataset["images"] if image["id"] in kept]
    objects = [each for api in dataset.apis for each in api.dataset.get("annotations", []) if each["image_id"] in kept]
    numbered = [
        {"iscrowd": 0, "area": each["bbox"][2] * each["bbox"][3], **each, "id": id}
        for id, each in enumerate(objects, 1)
    ]
    categories = {each["id"]: each for api in dataset.apis for each in api.dataset.get("categories", [])}
    return api_of({"images": images, "categories": list(categories.values()), "annotations": numbered})


def of_samples(dataset: Dataset) -> COCO:
    """Any data set's objects as COCO's annotations."""
    samples = [dataset[index] for index in range(len(dataset))]
    objects = [
        (image, box, int(index), not counts)
        for image, sample in enumerate(samples, 1)
        for box, index, counts in zip(sample.boxes, sample.classes, sample.trainable, strict=True)
    ]
    annotations = []
    for id, (image, (x1, y1, x2, y2), index, lenient) in enumerate(objects, 1):
        width, height = float(x2 - x1 + 1), float(y2 - y1 + 1)
        row = {"id": id, "image_id": image, "category_id": index, "bbox": [float(x1), float(y1), width, height]}
        annotations.append({**row, "area": width * height, "iscrowd": int(lenient)})
    images = [{"id": image, "height": each.height, "width": each.width} for image, each in enumerate(samples, 1)]
    categories = [{"id": index, "name": name} for index, name in enumerate(dataset.class_names) if index]
    return api_of({"images": images, "categories": categories, "annotations": annotations})
