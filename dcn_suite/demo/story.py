"""The demo's steps. MXNet trains and saves; everything after the checkpoint also runs in PyTorch, from converted weights."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dcn_suite.cli.convert import convert_to_torch
from dcn_suite.parity.detections import above
from dcn_suite.parity.matching import match_boxes
from dcn_suite.parity.report import Result, write_report
from dcn_suite.parity.run import Settings, run_parity
from dcn_tasks.config import Config, load_config
from dcn_tasks.detections import Detections
from dcn_tasks.scenes import Scene, scene_source
from dcn_tasks.voc_ap import GroundTruth, Score, evaluate
from weights_convert import load_params, load_weights

CONFIG = "demo/narrow_rfcn_dcn"
HELD_OUT = 100  # scenes that the score is counted on
COMPARED = 24  # of them, scenes on which both frameworks' boxes are compared
SHOWN_SCORE = 0.05  # boxes above this score have to be the same in both
SCORE_TOLERANCE = 1e-4
Step = Callable[[str, int, int], None]  # (what, done, of)


@dataclass
class Story:
    """What the steps leave for the page. Paths are under the demo's folder."""

    cfg: Config
    out: Path
    seed: int
    losses: dict[str, list[float]] = field(default_factory=dict)
    training_seconds: float = 0.0
    checkpoint: Path = Path()
    score: Score | None = None
    mean_offset_px: float = 0.0
    parity: Result | None = None
    scenes: list[Scene] = field(default_factory=list)
    found: dict[str, list[Detections]] = field(default_factory=dict)
    unmatched: int = 0
    matched: int = 0
    largest_score_difference: float = 0.0
    offsets: list[np.ndarray] = field(default_factory=list)

    @property
    def boxes_agree(self) -> bool:
        """Every box has its twin and the scores are equal to 1e-4."""
        return self.matched > 0 and self.unmatched == 0 and self.largest_score_difference <= SCORE_TOLERANCE


def train(story: Story, steps: int) -> None:
    """MXNet, from random weights; leaves the checkpoint as the original would write it."""
    import mxnet_ref

    cfg = story.cfg
    start = time.monotonic()
    arg, aux = mxnet_ref.init_params(cfg, seed=story.seed)
    scenes = mxnet_ref.scene_batches(cfg, seed=story.seed)
    trained = mxnet_ref.train(cfg, scenes, arg, aux, steps=steps, seed=story.seed)
    names = ("RPNLogLoss", "RPNL1Loss", "RCNNLogLoss", "RCNNL1Loss")
    story.losses = {name: [step[name] for step in trained.metrics] for name in names}
    story.training_seconds = time.monotonic() - start
    story.checkpoint = mxnet_ref.save_checkpoint(story.out / cfg.TRAIN.model_prefix, 1, trained.arg, trained.aux, cfg)


def score(story: Story, step: Step) -> None:
    """Average precision of the MXNet detector on scenes that training never saw."""
    import mxnet_ref

    cfg = story.cfg
    detector = mxnet_ref.Detector(cfg, *mxnet_ref.load_checkpoint(story.out / cfg.TRAIN.model_prefix, 1, process=True))
    source = scene_source(cfg, "held_out", seed=story.seed)
    found, truth = [], []
    for index in range(HELD_OUT):
        scene = source[index]
        found.append(detector(scene.image)[0])
        truth.append(GroundTruth(scene.boxes, scene.classes))
        if index < COMPARED:
            story.scenes.append(scene)
        step("held-out scenes (MXNet)", index + 1, HELD_OUT)
    story.score = evaluate(found, truth, range(1, cfg.dataset.NUM_CLASSES))
    story.found["MXNet"] = found[:COMPARED]


def convert(story: Story) -> Path:
    """The checkpoint as .safetensors; the folder that `dcn convert` writes."""
    folder = story.out / "converted"
    convert_to_torch(story.checkpoint, CONFIG, folder, False)
    return folder


def prove(story: Story, converted: Path, step: Callable[[str], None]) -> None:
    """Parity of the trained network, every layer, forward and gradients, on a photograph."""
    params = load_params(story.checkpoint)
    arrays = {f"arg:{name}": value for name, value in params.arg.items()}
    arrays |= {f"aux:{name}": value for name, value in params.aux.items()}
    settings = Settings(
        story.cfg.SCALES[0], grad=True, seed=story.seed, weights=load_weights(converted / "model.safetensors")
    )
    story.parity = run_parity(story.cfg, settings, parameters=arrays, step=step)
    write_report(story.parity, story.out / "parity")


def detect_in_torch(story: Story, converted: Path, step: Step) -> None:
    """The same scenes in PyTorch; its boxes against MXNet's, as sets; the offsets of the last deformable layer."""
    from torch_port.models import Detector, build_network

    network = build_network(story.cfg)
    network.load_state_dict(load_weights(converted / "model.safetensors").state)
    recorded: list[np.ndarray] = []
    unit = network.backbone.stage5[-1]
    unit.offset_conv.register_forward_hook(lambda module, inputs, output: recorded.append(output[0].numpy().copy()))
    detector = Detector(network, story.cfg)
    story.found["PyTorch"] = []
    for index, scene in enumerate(story.scenes):
        story.found["PyTorch"].append(detector(scene.image)[0])
        step("the same scenes (PyTorch)", index + 1, len(story.scenes))
    story.offsets = recorded
    story.mean_offset_px = float(np.mean([np.abs(offset).mean() for offset in recorded]))
    for ours, theirs in zip(story.found["PyTorch"], story.found["MXNet"], strict=True):
        compare_boxes(story, ours, theirs)


def compare_boxes(story: Story, ours: Detections, theirs: Detections) -> None:
    """Counts boxes above SHOWN_SCORE with and without a twin (same class, IoU >= 0.999)."""
    ours, theirs = above(ours, SHOWN_SCORE - SCORE_TOLERANCE), above(theirs, SHOWN_SCORE - SCORE_TOLERANCE)
    matching = match_boxes(ours.boxes, theirs.boxes, labels=(ours.classes, theirs.classes))
    lonely = np.concatenate([ours.scores[matching.only_a], theirs.scores[matching.only_b]])
    story.unmatched += int((lonely > SHOWN_SCORE + SCORE_TOLERANCE).sum())
    story.matched += len(matching.pairs)
    differences = np.abs(ours.scores[matching.pairs[:, 0]] - theirs.scores[matching.pairs[:, 1]])
    story.largest_score_difference = max(story.largest_score_difference, float(differences.max(initial=0.0)))


def begin(out: Path, seed: int) -> Story:
    """An empty story in an (existing or new) folder."""
    out.mkdir(parents=True, exist_ok=True)
    return Story(load_config(CONFIG), out, seed)
