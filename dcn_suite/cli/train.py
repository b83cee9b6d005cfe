"""`dcn train`: trains a configuration in MXNet or PyTorch, and goes on where a training stopped."""

import argparse
from pathlib import Path

from dcn_suite.cli.output import note, print_json, print_table
from dcn_tasks.errors import InputError
from dcn_tasks.training_loop import TrainingDiverged

EXAMPLES = """examples:
  dcn train rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem --framework torch --data VOCdevkit --output run
  dcn train rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem --framework torch --data VOCdevkit --output run --resume
  dcn train demo/narrow_rfcn_dcn --framework mxnet --output run --steps 200         generated scenes, nothing to download
  dcn train my.yaml --framework torch --weights converted --data photos --output run       docs/fine_tuning.md
  torchrun --nproc-per-node 4 -m dcn_suite.cli.main train CONFIG --framework torch --data VOCdevkit --output run
  python -m mxnet_ref.launch --workers 4 -m dcn_suite.cli.main train CONFIG --framework mxnet --data VOCdevkit --output run

writes into DIR: PREFIX-NNNN.params or .safetensors for every epoch, last.* to resume from, config.yaml, run.json, training.log,
metrics.jsonl, tensorboard/ (tensorboard --logdir DIR), and for PyTorch model.safetensors for dcn predict and dcn eval"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a configuration in MXNet or PyTorch",
        description="Trains with the original's recipe: warm-up, schedule, multipliers, frozen parameters, sampling, flips and "
        "crops of the configuration, the same batches and the same first weights in both frameworks. A training that was "
        "killed at any moment goes on with --resume; on the CPU the weights in the end are the same bits.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", help="YAML path or a name under configs/ without suffix")
    add("--framework", choices=("torch", "mxnet"), default="torch", help="which one trains (default: torch)")
    add("--output", metavar="DIR", type=Path, required=True, help="where to write")
    add("--data", metavar="DIR", type=Path, help="images and annotations, in place of dataset.dataset_path")
    add("--resume", action="store_true", help="go on with the training in DIR; begins it when there is none")
    add("--restart-warmup", action="store_true", help="with --resume: warm up again, as the original does")
    add("--weights", metavar="FILE", type=Path, help=".params, .safetensors or a `dcn convert` folder to start from")
    add("--from-scratch", action="store_true", help="random weights, even where the configuration names a backbone")
    add("--seed", metavar="N", type=int, default=0, help="of first weights, order, crops and samples (default: 0)")
    add("--steps", metavar="N", type=int, help="updates in all (default: TRAIN.end_epoch epochs)")
    add("--images-per-update", metavar="K", type=int, help="over all processes (default: one a device of `gpus`)")
    add("--workers", metavar="N", type=int, default=1, help="threads that prepare images ahead (default: 1)")
    add(
        "--skip-bad",
        "--skip-bad-images",
        dest="skip_bad",
        action="store_true",
        help="leave images and annotations that cannot be used out instead of stopping, and list them",
    )
    add(
        "--save-every",
        metavar="N",
        type=int,
        default=500,
        help="updates between two states to resume from (default: 500)",
    )
    add("--device", metavar="D", help="PyTorch: cpu, cuda, cuda:1 (default: the GPU that is there)")
    add("--amp", choices=("bf16",), help="PyTorch: bfloat16 where it does no harm, float32 weights")
    add("--channels-last", action="store_true", help="PyTorch: images in NHWC, faster on GPUs with --amp")
    add("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns: 0, or 1 when a loss is no longer finite. Raises: InputError."""
    from dcn_suite.training import Settings, run_training

    for name, least in (("steps", 1), ("images_per_update", 1), ("save_every", 1), ("workers", 0), ("seed", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise InputError(f"--{name.replace('_', '-')}: expected {least} or more, got {value}")
    if args.weights is not None and args.from_scratch:
        raise InputError("--weights and --from-scratch: expected one of them, got both")
    if args.restart_warmup and not args.resume:
        raise InputError("--restart-warmup: goes with --resume, a new training warms up anyway")
    settings = Settings(
        config=args.config, framework=args.framework, output=args.output, data=args.data, resume=args.resume,
        restart_warmup=args.restart_warmup, weights=args.weights, from_scratch=args.from_scratch, seed=args.seed,
        steps=args.steps, images_per_update=args.images_per_update, workers=args.workers, skip_bad=args.skip_bad,
        save_every=args.save_every, device=args.device, amp=args.amp, channels_last=args.channels_last,
    )  # fmt: skip
    try:
        done = run_training(settings)
    except TrainingDiverged as error:
        note(f"dcn train: {error}")
        return 1
    if done.pop("rank"):
        return 0  # the first process says it
    if args.json:
        print_json(done)
    else:
        rows = [
            [name, value] for name, value in {**done, **done["metrics"]}.items() if name not in ("metrics", "left_out")
        ]
        rows += [["left out", sentence] for sentence in done["left_out"]]
        print_table(f"dcn train {args.config} ({args.framework})", ("what", "value"), rows)
    return 0
