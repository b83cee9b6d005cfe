"""`dcn predict`: finds objects in images, or labels their pixels; draws them and writes JSON beside."""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from dcn_suite.checkpoints import Checkpoint, read_checkpoint
from dcn_suite.cli.convert import sha256
from dcn_suite.cli.output import note, plain, print_json, print_table
from dcn_suite.pictures import save_indexed_png, save_png
from dcn_suite.predictors import FRAMEWORKS, Prediction, Predictor, build_predictor
from dcn_tasks.class_names import label_colours
from dcn_tasks.config import Config, load_config
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from dcn_tasks.images import read_image
from dcn_tasks.looks import PAPER_SCALES
from dcn_tasks.task import SEGMENTATION, task_of

EXAMPLES = """examples:
  dcn predict rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem --weights rfcn_dcn_voc-0007.params --out found photo.jpg
  dcn predict rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem --weights converted --out found --scales paper \\
      --flip --box-average --soft-nms *.jpg
  dcn predict deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_dcn --weights dcn.safetensors --framework mxnet \\
      --out found street.png

writes DIR/NAME.png and DIR/NAME.json for every image, of label maps also DIR/NAME_labels.png (one byte a pixel)"""
LABELS = "_labels.png"  # what the name of a label map ends in
MANY_LOOKS = "--scales, --flip, --box-average and --soft-nms"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "predict",
        help="find objects in images, or label their pixels",
        description="Runs a network with the weights of a checkpoint, MXNet's .params and .safetensors alike in either "
        "framework, on images. Without options it looks as the configuration's TEST says: once, FPN at six scales with "
        "Soft-NMS (readme/fpn-single-scale: once).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML path or a name under configs/ without suffix")
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="JPEG, PNG ..., turned as EXIF says")
    parser.add_argument(
        "--weights", metavar="FILE", type=Path, required=True, help=".params, .safetensors, or a `dcn convert` folder"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="where to write")
    parser.add_argument("--framework", choices=FRAMEWORKS, default="torch", help="which one runs it (default: torch)")
    parser.add_argument("--device", metavar="D", help="PyTorch: cpu, cuda, cuda:1 (default: the GPU that is there)")
    parser.add_argument("--threshold", metavar="T", type=float, default=0.5, help="least score of a box (default: 0.5)")
    parser.add_argument(
        "--scales",
        metavar="LIST",
        help="several scales, united: 480x800,576x900 (short side x limit), or `paper`: its six",
    )
    parser.add_argument("--flip", action="store_true", help="look at the mirrored image too")
    parser.add_argument(
        "--box-average", action="store_true", help="score found boxes again and average those of one object"
    )
    parser.add_argument("--soft-nms", action="store_true", help="lower the scores of overlapping boxes, drop none")
    parser.add_argument("--skip-bad", action="store_true", help="go on after images that cannot be read, and list them")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 1 where every image was skipped.

    Raises: InputError for a broken image, weights that don't fit, options that the network does not have.
    """
    if not 0 <= args.threshold <= 1:
        raise InputError(f"--threshold: expected a score from 0 to 1, got {args.threshold:g}")
    cfg = configuration(args)
    suffixes = (".png", LABELS) if task_of(cfg) is SEGMENTATION else (".png",)
    targets = targets_of(args.images, args.out, suffixes, must_exist=not args.skip_bad)
    checkpoint = read_checkpoint(args.weights, cfg, config_name=args.config)
    for sentence in checkpoint.notes:
        note(sentence)
    predictor = build_predictor(cfg, checkpoint, args.framework, threshold=args.threshold, device=args.device)
    settings = described(args, cfg, checkpoint)
    results = []
    for path, target in watched(targets):
        try:
            image, prediction = looked_at(path, predictor)
        except InputError as error:
            if not args.skip_bad:
                raise
            note(f"left out: {error}")
            continue
        facts = {"image": str(path), "height": image.shape[0], "width": image.shape[1], **settings, **prediction.facts}
        files = write(prediction, facts, target, cfg)
        results.append({**facts, "files": files, "summary": prediction.summary})
    if args.json:
        print_json(results)
    else:
        rows = [[each["image"], each["summary"], each["files"][0]] for each in results]
        print_table(f"dcn predict {args.config} ({args.framework})", ("image", "found", "picture"), rows)
    return 0 if results else 1


def looked_at(path: Path, predictor: Predictor) -> tuple[np.ndarray, Prediction]:
    """The image and what was found in it. Raises: InputError, with its name, for one that cannot be read or looked at."""
    image = read_image(path, turned=True)
    try:
        return image, predictor(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def configuration(args: argparse.Namespace) -> Config:
    """The configuration with the options over its TEST."""
    cfg = load_config(args.config)
    changes: dict[str, object] = {}
    if args.scales is not None:
        changes["TEST_SCALES"] = PAPER_SCALES if args.scales == "paper" else scales_of(args.scales)
    for given, key in ((args.flip, "FLIP"), (args.box_average, "BOX_AVERAGE"), (args.soft_nms, "USE_SOFTNMS")):
        if given:
            changes[f"TEST__{key}"] = True
    if changes and task_of(cfg) is SEGMENTATION:
        raise InputError(f"{MANY_LOOKS} are for detection, and {args.config} labels pixels: leave them out")
    return load_config(cfg, **changes)


def scales_of(text: str) -> list[list[int]]:
    """ "480x800,576x900" -> [[480, 800], [576, 900]]."""
    if not re.fullmatch(r"\d+x\d+(,\d+x\d+)*", text):
        raise InputError(f"--scales: expected SHORTxLONG of each scale, e.g. 480x800,576x900, or paper; got {text!r}")
    return [[int(side) for side in pair.split("x")] for pair in text.split(",")]


def targets_of(images: list[Path], out: Path, suffixes: Sequence[str], *, must_exist: bool) -> dict[Path, Path]:
    """Image -> where its results go, without suffix.

    Args: suffixes: of the pictures that are written.
    Raises: InputError for what would overwrite something, or is not there.
    """
    targets: dict[Path, Path] = {}
    sources: dict[Path, Path] = {}
    inputs = {path.resolve() for path in images}
    for path in images:
        if must_exist and not path.is_file():
            raise InputError(f"{path}: expected an image, there is no such file")
        target = targets[path] = out / path.stem
        for suffix in suffixes:
            written = target.with_name(target.name + suffix)
            if written.resolve() in inputs:
                raise InputError(f"{written} is an image and would be overwritten: give another folder to --out")
            if (twin := sources.setdefault(written, path)) != path:
                raise InputError(f"{path} and {twin} would both be written to {written}: predict them into two folders")
    return targets


def watched(targets: dict[Path, Path]) -> Iterator[tuple[Path, Path]]:
    items = list(targets.items())
    if not sys.stderr.isatty():
        return iter(items)
    return iter(track(items, "predicting", console=Console(stderr=True), transient=True))


def described(args: argparse.Namespace, cfg: Config, checkpoint: Checkpoint) -> dict[str, object]:
    """What the results depend on."""
    facts: dict[str, object] = {
        "config": args.config,
        "weights": checkpoint.path.name,
        "weights_sha256": sha256(checkpoint.path),
        "framework": args.framework,
    }
    if task_of(cfg) is not SEGMENTATION:
        test = cfg.TEST
        facts["test"] = {
            "threshold": args.threshold,
            "scales": [list(pair) for pair in cfg.TEST_SCALES or cfg.SCALES],
            "flip": test.FLIP,
            "box_average": test.BOX_AVERAGE,
            "soft_nms": test.SOFTNMS_METHOD if test.USE_SOFTNMS else False,
            "boxes": "x1, y1, x2, y2 in pixels of the image, far edge inclusive",
        }
    return facts


def write(prediction: Prediction, facts: dict[str, object], target: Path, cfg: Config) -> list[str]:
    """Picture, labels where there are some, and last the JSON that names what it belongs to; each whole or not at all."""
    picture, table = (target.with_name(target.name + suffix) for suffix in (".png", ".json"))
    save_png(picture, prediction.picture)
    files = [str(picture), str(table)]
    if prediction.labels is not None:
        labels = target.with_name(target.name + LABELS)
        save_indexed_png(labels, prediction.labels, np.asarray(label_colours(cfg)))
        files.append(str(labels))
    with atomic_path(table) as temporary:
        temporary.write_text(json.dumps(plain(facts), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return files
