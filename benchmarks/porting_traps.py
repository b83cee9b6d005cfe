"""What the wrong turns of docs/porting_traps.md cost, on whole networks; writes the figures and the page.

    python benchmarks/porting_traps.py                       about ten minutes on two cores; needs MXNet for the weights
    python benchmarks/porting_traps.py --page-only           the page again from the stored figures

Weights are random and calibrated (mxnet_ref.calibrated_init); --weights and --label-weights take checkpoints instead, which is
quicker the second time: --keep FOLDER leaves them there.
"""

import argparse
import json
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

DETECTION = "rfcn/resnet_v1_101_voc0712_rfcn_dcn_end2end_ohem"
LABELS = "deeplab/deeplab_resnet_v1_101_voc12_segmentation_dcn"
RESULTS = REPOSITORY / "benchmarks" / "results" / "porting_traps.json"
PAGE = REPOSITORY / "docs" / "porting_traps.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=f".params of {DETECTION}")
    parser.add_argument("--label-weights", type=Path, metavar="FILE", help=f".params of {LABELS}")
    parser.add_argument(
        "--keep", type=Path, default=Path("porting_traps"), metavar="FOLDER", help="for the weights made here"
    )
    args = parser.parse_args()

    from dcn_suite.parity.traps import render
    from dcn_tasks.files import atomic_path

    if not args.page_only:
        stored = measured(args)
        with atomic_path(RESULTS) as temporary:
            temporary.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    with atomic_path(PAGE) as temporary:
        temporary.write_text(render(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
    print(PAGE)


def measured(args: argparse.Namespace) -> dict:
    import torch
    from rich.console import Console

    from dcn_suite.parity.photo import photo_of
    from dcn_suite.parity.traps import anchor_cost, detection_costs, label_costs
    from dcn_tasks.config import load_config
    from torch_port.models import build_network
    from weights_convert import load_params, to_torch

    with Console(stderr=True).status("porting traps") as status:
        found = {}
        for name, given in ((DETECTION, args.weights), (LABELS, args.label_weights)):
            cfg = load_config(name)
            image = photo_of(*cfg.SCALES[0])
            status.update(f"{name}: weights")
            params = load_params(given or calibrated(name, image, args.keep))
            network = build_network(cfg)
            network.load_state_dict(to_torch(params, cfg))
            if name == DETECTION:
                found["detection"] = detection_costs(cfg, network, params, image, status.update)
            else:
                found["labels"] = label_costs(cfg, network, image, status.update)
    about = {
        "networks": f"{DETECTION} (600 x 1000), {LABELS} (360 x 600)",
        "PyTorch": torch.__version__,
        "weights": "random, seed 0",
    }
    return {"about": about, **found, "anchors": anchor_cost()}


def calibrated(name: str, image, folder: Path) -> Path:
    """A checkpoint with calibrated random weights."""
    import mxnet_ref
    from dcn_tasks.config import load_config

    cfg = load_config(name)
    arg, aux = mxnet_ref.calibrated_init(cfg, image, seed=0)
    return mxnet_ref.save_checkpoint(folder / Path(name).name, 0, arg, aux, cfg)


if __name__ == "__main__":
    main()
