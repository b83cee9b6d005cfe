"""Images per second of the loader, beside the training step that waits for them.

    python benchmarks/loader_cpu.py --threads 2 --out benchmarks/results/loader_cpu.json

Detection: JPEG files of 480 x 800 pixels, read at 600 x 1000 with the anchors' targets of the COCO networks; segmentation:
PNG files of 1024 x 2048, cropped to 768 x 1024. Both sets are made of photographs that ship with scikit-image. The step is
Deformable R-FCN's, ResNet-101, 600 x 1000, PyTorch on the CPU; `waits` is the share of a training's time that it waits for
its next image. Each thread of the loader calls OpenCV with one thread of its own.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

IMAGES = 16
WORKERS = (0, 1, 2)
DETECTION = "rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem"
SEGMENTATION = "deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_dcn"


def make_detection_set(root: Path) -> tuple:
    """A data set of photographs with eight boxes each, and its configuration."""
    import cv2

    from dcn_tasks.config import load_config
    from dcn_tasks.data import ListedDataset, Sample
    from dcn_tasks.scenes import SceneSource

    source = SceneSource(0, 480, 800, max_objects=8, max_side=200)
    cfg = load_config(DETECTION, TRAIN__lr=0.0, TRAIN__warmup_lr=0.0)  # random weights at full rate become NaN
    samples = []
    for index in range(IMAGES):
        scene = source[index]
        path = root / f"{index}.jpg"
        cv2.imwrite(str(path), scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        samples.append(Sample(str(index), path, 480, 800, scene.boxes, scene.classes))
    return ListedDataset("photographs", ["background", *"abcd"], samples), cfg


def make_segmentation_set(root: Path) -> tuple:
    """The same with label maps."""
    import cv2

    from dcn_tasks.config import load_config
    from dcn_tasks.data import ListedDataset, Sample
    from dcn_tasks.scenes import SceneSource

    source = SceneSource(1, 1024, 2048, max_objects=8, max_side=400)
    samples = []
    for index in range(IMAGES // 2):
        scene = source[index]
        image, labels = root / f"{index}.png", root / f"{index}_labels.png"
        cv2.imwrite(str(image), scene.image[..., ::-1])
        cv2.imwrite(str(labels), scene.labels)
        samples.append(Sample(str(index), image, 1024, 2048, labels=labels))
    return ListedDataset("streets", list("abcde"), samples), load_config(SEGMENTATION)


def images_per_second(dataset, cfg, workers: int, count: int) -> float:
    """After the first images, which fill the queue."""
    from dcn_tasks.data import Loader

    updates = Loader(dataset, cfg, workers=workers).updates()
    for _ in range(2 * workers + 2):
        next(updates)
    start = time.perf_counter()
    for _ in range(count):
        next(updates)
    seconds = time.perf_counter() - start
    updates.close()
    return count / seconds


def training(dataset, cfg, workers: int, steps: int) -> tuple[float, float]:
    """Median seconds of a step, and the share of the time that was spent waiting for images."""
    from dcn_suite.training.in_torch import Run
    from dcn_suite.training.settings import Settings
    from dcn_suite.training.start import starting_weights
    from dcn_tasks.data import Loader

    start, _ = starting_weights(cfg, 0, None, from_scratch=True)
    settings = Settings(config=DETECTION, framework="torch", output=Path("."))
    loader = Loader(dataset, cfg, workers=workers)
    run = Run(
        cfg, settings, start, updates_per_epoch=loader.updates_per_epoch, images_per_update=1, warmup_from=0, state=None
    )
    updates = loader.updates()
    run.learner.update(next(updates).images)
    taken, waited = [], 0.0
    for _ in range(steps):
        begin = time.perf_counter()
        update = next(updates)
        ready = time.perf_counter()
        run.learner.update(update.images)
        waited += ready - begin
        taken.append(time.perf_counter() - ready)
    updates.close()
    return statistics.median(taken), waited / (waited + sum(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--count", type=int, default=60, help="images measured, detection; a quarter for segmentation")
    parser.add_argument("--steps", type=int, default=4, help="training steps measured; 0: none")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(args.threads)
    result: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "threads": args.threads,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "torch": torch.__version__,
        "images_per_second": {},
        "training": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").mkdir()
        (Path(folder) / "b").mkdir()
        detection = make_detection_set(Path(folder) / "a")
        streets = make_segmentation_set(Path(folder) / "b")
        for name, (dataset, cfg), count in (("600x1000", detection, args.count), ("crop", streets, args.count // 4)):
            for workers in WORKERS:
                rate = images_per_second(dataset, cfg, workers, count)
                result["images_per_second"][f"{name}, workers {workers}"] = round(rate, 1)
                print(f"{name}, {workers} workers: {rate:.1f} images/s", flush=True)
        for workers in (0, 1) if args.steps else ():
            step, waits = training(*detection, workers, args.steps)
            result["training"][f"workers {workers}"] = {"step_s": round(step, 3), "waits": round(waits, 5)}
            print(f"training, {workers} workers: {step:.2f} s a step, waits {waits:.2%} of the time", flush=True)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
