"""`dcn convert`: an MXNet checkpoint to a folder for PyTorch, and such a folder back to MXNet."""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
from pathlib import Path

from rich.console import Console

from dcn_suite.checkpoints import is_safetensors
from dcn_suite.cli.convert_graph import GRAPH, convert_graph, graph_to_mxnet
from dcn_suite.cli.output import note, print_json, print_table, staged_folder
from dcn_tasks.config import Config, dump, load_config, to_plain
from dcn_tasks.errors import InputError
from weights_convert import (
    RULES_VERSION,
    Converted,
    Params,
    convert_params,
    from_caffe_layout,
    from_torchvision,
    is_torchvision,
    load_params,
    load_weights,
    save_params,
    save_weights,
    to_mxnet,
)
from weights_convert.families import configs_that_fit, dense
from weights_convert.tensors import as_array
from weights_convert.weights_file import listed_texts

WEIGHTS, CONFIG, PARITY = "model.safetensors", "config.yaml", "parity.json"
PACKAGES = ("dcn-port", "torch", "numpy", "safetensors")
EXAMPLES = """examples:
  dcn convert rfcn_dcn_voc-0007.params --config rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem -o converted --verify
  dcn convert converted --to mxnet -o back/rfcn_dcn_voc
  dcn convert resnet-0000.params --symbol resnet-symbol.json -o converted --emit-python --verify --input data=1,3,224,224"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "convert",
        help="MXNet .params to PyTorch .safetensors, and back",
        description="Converts a checkpoint of the R-FCN family (--config) or of any MXNet graph (--symbol). "
        "Every array of the file and of the network is "
        "accounted for, and every file is read back and compared bit for bit. MXNet is needed only for --verify and "
        "for the graph of --to mxnet.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="FILE|DIR",
        help="a .params file, or a ResNet under torchvision's names as .safetensors; with --to mxnet a converted folder",
    )
    parser.add_argument(
        "--caffe",
        action="store_true",
        help="the .safetensors is MSRA's ResNet in Caffe layout, planes B, G, R (OpenMMLab's resnet101_msra)",
    )
    parser.add_argument("--config", help="YAML path, or a name under configs/ without suffix")
    parser.add_argument("--to", choices=("torch", "mxnet"), default="torch", help="which way (default: torch)")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR|PREFIX", help="where to write")
    parser.add_argument(
        "--symbol", type=Path, metavar="FILE", help="symbol.json: converts any MXNet graph, without --config"
    )
    parser.add_argument("--emit-python", action="store_true", help="with --symbol: also write the network as model.py")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=SHAPE",
        help="with --symbol --verify: e.g. data=1,3,224,224",
    )
    parser.add_argument(
        "--recording",
        type=Path,
        metavar="FILE.npz",
        help="with --symbol --verify: recorded in:NAME and out0, out1, ... arrays",
    )
    parser.add_argument("--verify", action="store_true", help="run both frameworks and compare layer by layer")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.caffe and (args.to == "mxnet" or args.symbol is not None):
        raise InputError("--caffe goes with a .safetensors and --config; leave it out with --to mxnet and --symbol")
    if args.symbol is None and (args.emit_python or args.input or args.recording):
        raise InputError(
            "--emit-python, --input and --recording go with --symbol, another model's graph: leave them out"
        )
    if args.symbol is not None and args.config is not None:
        raise InputError("--config and --symbol: expected one of them, got both")
    if args.to == "mxnet":
        if args.verify:
            raise InputError("--verify goes with a conversion to PyTorch; leave it out with --to mxnet")
        any_graph = (args.source / GRAPH).is_file()
        result = (
            graph_to_mxnet(args.source, args.out) if any_graph else convert_to_mxnet(args.source, args.config, args.out)
        )
        holds = True
    else:
        if args.config is None and args.symbol is None:
            fitting = (
                " or ".join(configs_that_fit(load_params(args.source))) or "none of this package; give a YAML path"
            )
            raise InputError(f"--config is needed to convert {args.source}; it fits: {fitting}")
        if args.symbol is not None:
            options = {
                "verify": args.verify,
                "emit": args.emit_python,
                "shapes": args.input,
                "recording": args.recording,
            }
            result = convert_graph(args.source, args.symbol, args.out, **options)
        else:
            result = convert_to_torch(args.source, args.config, args.out, args.verify, caffe=args.caffe)
        verdict = result["parity"]["verdict"]
        holds = not args.verify or verdict == "holds"  # who asks for a proof and gets none must not read 0
        if args.verify and verdict == "not verified":
            result["notes"].append(f"not verified: {result['parity']['why']}")
    for sentence in result["notes"]:
        note(sentence)
    if args.json:
        print_json(result)
    else:
        rows = [[key, value] for key, value in result.items() if key not in ("notes", "parity")]
        rows += [["parity", result["parity"]["verdict"]]] if "parity" in result else []
        print_table(f"dcn convert {args.source}", ("what", "result"), rows)
    return 0 if holds else 1


def convert_to_torch(source: Path, config: str, out: Path, verify: bool, *, caffe: bool = False) -> dict:
    """Writes OUT/model.safetensors, config.yaml and parity.json, all or none."""
    cfg = load_config(config)
    params, converted = read(source, cfg, caffe=caffe)
    with staged_folder(out) as staging:
        with Console(stderr=True).status(f"writing {out / WEIGHTS}"):
            save_weights(staging / WEIGHTS, converted.arrays(), origin(source, config, cfg, converted))
        (staging / CONFIG).write_text(dump(cfg), encoding="utf-8")
        parity = verified(params, converted, cfg, staging) if verify else not_verified("--verify was not given")
        (staging / PARITY).write_text(json.dumps(parity, indent=2) + "\n", encoding="utf-8")
    return {
        "out": str(out),
        "tensors": len(converted.state),
        "normalised copies for training": len(converted.train),
        "initialised fresh": len(converted.fresh),
        "left out": len(converted.dropped),
        "parity": parity,
        "notes": converted.notes,
    }


def read(source: Path, cfg: Config, *, caffe: bool) -> tuple[Params, Converted]:
    """An MXNet file, or a ResNet under torchvision's names as .safetensors, which has no parameters of MXNet to verify against.

    Args: caffe: the latter is in Caffe layout.
    """
    if not is_safetensors(source):
        if caffe:
            raise InputError(
                f"{source}: --caffe is for .safetensors under torchvision's names, got MXNet's .params: leave it out"
            )
        params = load_params(source)
        return params, convert_params(params, cfg, source=str(source))
    state = {name: as_array(tensor) for name, tensor in load_weights(source).state.items()}
    if not is_torchvision(state):
        raise InputError(
            f"{source}: expected MXNet's .params, or torchvision's ResNet as .safetensors, got other tensors"
        )
    return Params(), (from_caffe_layout if caffe else from_torchvision)(state, cfg, source=str(source))


def origin(source: Path, config: str, cfg: Config, converted: Converted) -> dict[str, object]:
    """The metadata of model.safetensors: from what it was made, by what, and what was not in it."""
    return {
        "format": "pt",
        "source": source.name,
        "source_sha256": sha256(source),
        "rules_version": RULES_VERSION,
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES if installed(name)},
        "config_name": str(config),
        "config": to_plain(cfg),
        "fresh": converted.fresh,
        "dropped": converted.dropped,
        "notes": converted.notes,
    }


def not_verified(why: str) -> dict:
    return {"verdict": "not verified", "why": why}


def verified(params: Params, converted: Converted, cfg: Config, staging: Path) -> dict:
    """What `dcn_suite.parity.verify` says of the converted weights; "not verified", with the reason, where it can't."""
    if converted.fresh:
        return not_verified("a backbone file: without the heads there is no output to compare")
    if importlib.util.find_spec("mxnet") is None:
        return not_verified("MXNet is not installed: pip install 'dcn-port[mxnet]' (Python 3.8 to 3.11)")
    from dcn_suite import parity

    if not hasattr(parity, "verify"):
        return not_verified("this build has no dcn_suite.parity.verify")
    # Nobody has looked at the shapes of what was left out, and a sparse array may stand for any number of bytes.
    arg, aux = (
        {name: dense(array) for name, array in group.items() if name not in converted.dropped}
        for group in (params.arg, params.aux)
    )
    with Console(stderr=True).status("comparing MXNet and PyTorch") as status:
        return parity.verify(Params(dict(arg), dict(aux)), cfg, staging / WEIGHTS, step=status.update)


def convert_to_mxnet(source: Path, config: str | None, prefix: Path) -> dict:
    """Writes PREFIX-0000.params, and PREFIX-symbol.json where MXNet is installed."""
    if not source.is_dir():
        raise InputError(f"{source}: expected a folder that `dcn convert` wrote (with {WEIGHTS}); got no folder")
    weights = load_weights(source / WEIGHTS)
    cfg = load_config(config or str(source / CONFIG))
    params = to_mxnet(weights.tensors(), cfg)
    file = prefix.parent / f"{prefix.name}-0000.params"
    graph = prefix.parent / f"{prefix.name}-symbol.json"
    notes = listed_texts(source / WEIGHTS, weights.metadata, "notes")
    with staged_folder(prefix.parent) as staging:
        save_params(staging / file.name, params)
        if importlib.util.find_spec("mxnet") is None:
            notes.append(f"{graph.name} is not written: MXNet, which makes the graph, is not installed")
        else:
            from mxnet_ref import build_symbol

            build_symbol(cfg, is_train=False).save(str(staging / graph.name))
    written = [str(path) for path in (file, graph) if path.exists()]
    return {"written": ", ".join(written), "arg": len(params.arg), "aux": len(params.aux), "notes": notes}


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else digest(file)


def digest(file: object) -> str:
    total = hashlib.sha256()
    while block := file.read(1 << 20):  # type: ignore[attr-defined]
        total.update(block)
    return total.hexdigest()


def installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
