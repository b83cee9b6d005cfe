"""`dcn eval`: scores a checkpoint on a data set, in either framework, in one process or several."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from dcn_suite.checkpoints import read_checkpoint
from dcn_suite.cli.convert import sha256
from dcn_suite.cli.output import note, plain, print_json, print_table
from dcn_suite.evaluation import Findings, look_at, scores_of, united
from dcn_suite.predictors import FRAMEWORKS
from dcn_tasks.config import Config, load_config
from dcn_tasks.data import Dataset, open_dataset
from dcn_tasks.data.coco import CocoDataset
from dcn_tasks.data.dataset import ListedDataset
from dcn_tasks.errors import InputError
from dcn_tasks.files import atomic_path
from dcn_tasks.scoring import coco_results, coco_scores
from dcn_tasks.scoring.coco_ap import refuse_repeated
from dcn_tasks.task import SEGMENTATION, task_of

EXAMPLES = """examples:
  dcn eval rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem --weights rfcn_dcn_voc-0007.params --data VOCdevkit
  dcn eval rfcn/resnet_v1_101_coco_trainval_rfcn_dcn_end2end_ohem --weights converted --data coco --image-set val2017 \\
      --processes 2 --out result.json
  dcn eval deeplab/deeplab_resnet_v1_101_cityscapes_segmentation_dcn --weights dcn.safetensors --framework mxnet \\
      --data cityscapes

scores are percent: VOC's AP (11 points for 2007, area after), COCO's twelve, mean IoU; docs/data.md says how they count"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="evaluate a checkpoint in MXNet or PyTorch",
        description="Runs a network over the test set of its configuration and scores what it finds.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML path or a name under configs/ without suffix")
    parser.add_argument(
        "--weights", metavar="FILE", type=Path, required=True, help=".params, .safetensors, or a `dcn convert` folder"
    )
    parser.add_argument("--data", metavar="DIR", type=Path, help="the data set (default: dataset.dataset_path)")
    parser.add_argument("--image-set", metavar="SET", help="in place of dataset.test_image_set; joined by +")
    parser.add_argument("--framework", choices=FRAMEWORKS, default="torch", help="which one runs it (default: torch)")
    parser.add_argument("--device", metavar="D", help="PyTorch: cpu, cuda, cuda:1 (default: the GPU that is there)")
    parser.add_argument("--processes", metavar="N", type=int, default=1, help="share the images among N (default: 1)")
    parser.add_argument("--limit", metavar="N", type=int, help="the first N images only, for a quick look")
    parser.add_argument("--coco", action="store_true", help="count as COCO does, whatever the data set")
    parser.add_argument("--skip-bad", action="store_true", help="go on after images that cannot be used, and list them")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the scores as JSON")
    parser.add_argument("--results", metavar="FILE", type=Path, help="write COCO's result file, for its server")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # K/N: this is process K of N, which writes to --part-file
    parser.add_argument("--part-file", type=Path, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises: InputError for data or weights that are missing or don't fit."""
    for name in ("processes", "limit"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"--{name}: expected at least 1, got {getattr(args, name)}")
    cfg = load_config(args.config)
    bad = "skip" if args.skip_bad else "stop"
    dataset = limited(open_dataset(cfg, "test", args.data, image_set=args.image_set, bad=bad), args.limit)
    if args.results and not isinstance(dataset, CocoDataset):
        raise InputError(f"--results: COCO's result file is for COCO's data, not for {dataset.name}")
    refuse_unscorable(args, cfg, dataset)
    part, parts = (int(word) for word in args.part.split("/")) if args.part else (0, 1)
    if args.processes > 1:
        findings = shared(args, args.processes)
    else:
        checkpoint = read_checkpoint(args.weights, cfg, config_name=args.config)
        for sentence in checkpoint.notes if part == 0 else ():
            note(sentence)
        share = range(part, len(dataset), parts)
        findings = look_at(cfg, checkpoint, args.framework, dataset, share, bad=bad, device=args.device)
    if args.part_file is not None:
        findings.save(args.part_file)
        return 0
    report(args, cfg, dataset, findings)
    return 0


def refuse_unscorable(args: argparse.Namespace, cfg: Config, dataset: Dataset) -> None:
    """Raises: InputError for what would be found out when every image has been looked at."""
    for option, file in (("--results", args.results), ("--out", args.out)):
        if file is not None and file.is_dir():
            raise InputError(f"{option}: expected a file to write, {file} is a folder")
    if isinstance(dataset, CocoDataset) and task_of(cfg) is not SEGMENTATION:
        if any(api.anns for api in dataset.apis):
            refuse_repeated(dataset)
        elif not args.results:
            raise InputError(
                f"{dataset.name}: expected annotated objects to score with, there are none (a test set?): --results FILE writes what "
                "COCO's server scores"
            )
        elif args.out or args.json:
            raise InputError(f"--out and --json hold scores, and {dataset.name} has none to give: leave them out")


def limited(dataset: Dataset, limit: int | None) -> Dataset:
    """The first samples of a data set."""
    if limit is None or limit >= len(dataset):
        return dataset
    samples = [dataset[index] for index in range(limit)]
    if isinstance(dataset, CocoDataset):
        return CocoDataset(
            dataset.name, dataset.class_names, samples, dataset.notes, dataset.apis, dataset.category_ids
        )
    return ListedDataset(dataset.name, dataset.class_names, samples, dataset.notes)


def shared(args: argparse.Namespace, processes: int) -> Findings:
    """Every process looks at its share of the images and writes what it found; the shares are put together."""
    own = [args.config, "--weights", str(args.weights), "--framework", args.framework]
    for option, value in (("--data", args.data), ("--image-set", args.image_set), ("--limit", args.limit),
                          ("--device", args.device)):  # fmt: skip
        own += [option, str(value)] if value is not None else []
    own += ["--skip-bad"] if args.skip_bad else []
    with tempfile.TemporaryDirectory(prefix="dcn-eval-") as folder:
        files = [Path(folder) / f"{part}.npz" for part in range(processes)]
        running = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "dcn_suite.cli.main",
                    "eval",
                    *own,
                    "--part",
                    f"{part}/{processes}",
                    "--part-file",
                    str(file),
                ],
                stdout=subprocess.DEVNULL,
                stderr=None if part == 0 else subprocess.PIPE,
            )
            for part, file in enumerate(files)
        ]
        try:
            complaints = [process.communicate()[1] for process in running]
        finally:
            for process in running:
                process.kill()
        for process, complaint in zip(running, complaints, strict=True):
            if process.returncode:
                said = (complaint or b"see above").decode(errors="replace").strip().removeprefix("dcn eval: ")
                raise InputError(f"--processes: one of them failed: {said}")
        return united([Findings.load(file) for file in files])


def report(args: argparse.Namespace, cfg: Config, dataset: Dataset, findings: Findings) -> None:
    """Scores on stdout, and what was left out on stderr."""
    for sentence in [*dataset.notes, *findings.skipped.values()]:
        note(f"left out: {sentence}")
    if args.results:
        with atomic_path(args.results) as temporary:
            temporary.write_text(json.dumps(coco_results(findings.in_order(len(dataset)), dataset)), encoding="utf-8")  # type: ignore[arg-type]
        if not any(api.anns for api in dataset.apis):  # type: ignore[attr-defined]
            print_table(f"dcn eval {args.config}", ("written", "images"), [[str(args.results), len(dataset)]])
            return
    if args.coco and task_of(cfg) is not SEGMENTATION:
        scores = coco_scores(findings.in_order(len(dataset)), dataset)
    else:
        scores = scores_of(findings, dataset, cfg)
    facts = {
        "config": args.config,
        "weights": args.weights.name,
        "weights_sha256": sha256(args.weights) if args.weights.is_file() else None,
        "framework": args.framework,
        "data": dataset.name,
        "mode": cfg.dataset.MODE,
        "images": len(dataset),
        "skipped": len(findings.skipped),
        "scores": scores,
    }
    if args.out is not None:
        with atomic_path(args.out) as temporary:
            temporary.write_text(json.dumps(plain(facts), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if args.json:
        print_json(facts)
    else:
        title = f"dcn eval {args.config} ({args.framework}): {dataset.name}, {len(dataset)} images"
        print_table(title, ("score", "percent"), [[name, value] for name, value in scores.items()])
