"""Both frameworks from end to end, each deciding alone: how many decisions differ, and what a user sees of it."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dcn_suite.parity.chained import KINDS
from dcn_suite.parity.decisions import decisions_of, taken_pixels
from dcn_suite.parity.detections import detection_rows, detections_of, fairness_rows, is_well_posed, posed_rows
from dcn_suite.parity.isolated import as_shape
from dcn_suite.parity.judge import largest, largest_difference
from dcn_suite.parity.kinks import DEFORMABLE_CONVOLUTIONS, conv_positions, rois_of_other_cells
from dcn_suite.parity.matching import match_boxes
from dcn_suite.parity.overlap import Later
from dcn_suite.parity.port import Port
from dcn_suite.parity.pyramid_pool import pyramid_rois_of_other_cells
from dcn_suite.parity.reference import DTYPES, Reference
from dcn_suite.parity.rows import Row, reported_row
from dcn_suite.parity.segments import Segment
from dcn_tasks.config import Config
from dcn_tasks.detections import Detections
from dcn_tasks.network import NetworkSpec
from dcn_tasks.proposals import propose_from_pyramid
from dcn_tasks.streams import Draws

CHECK = "free-running"
ROIS, PROBABILITIES = "rpn.proposal", "head.softmax"
BOX_DELTAS = ("head.bbox_average", "head.bbox_pred")  # R-FCN's, Faster R-CNN's and FPN's
CANDIDATES = ("rpn.candidates:0", "rpn.candidates:1", "rpn.candidates:2")  # the class-aware RPN's
FULL_WIDTH = 64  # network.BASE_WIDTH of the original's networks


class FreeRun:
    """One free-running forward of the test graph in float32 against MXNet's recorded one, compared as it goes.

    found: detections by framework. outputs: modules whose output is kept. beyond_rois: modules that see RoIs, which may
    differ, so that their outputs cannot be compared row by row.
    """

    beyond_rois: tuple[str, ...] = ("head.", "rpn.proposal", "rpn.candidates")

    def __init__(self, reference: Reference, segments: Sequence[Segment], cfg: Config):
        self.reference, self.cfg = reference, cfg
        self.segments = {key: segment for segment in segments for key in segment.outputs}
        self.by_module = {segment.module: segment for segment in segments}
        self.offsets = {segment.inputs[1]: segment for segment in segments if segment.op in DEFORMABLE_CONVOLUTIONS}
        self.outputs = self.output_modules()
        self.differing: dict[str, list[int]] = {}
        self.measured: list[Row] = []
        self.kept: dict[str, np.ndarray] = {}
        self.found: dict[str, Detections] = {}

    def output_modules(self) -> tuple[str, ...]:
        """What gives RoIs, class probabilities and box deltas: modules, or PATH:INDEX of one with several outputs."""
        if CANDIDATES[0].partition(":")[0] in self.by_module:
            return CANDIDATES
        return ROIS, PROBABILITIES, next(path for path in BOX_DELTAS if path in self.by_module)

    def key_of(self, place: str) -> str:
        """The entry of an output; PATH:INDEX where a module has several."""
        module, _, index = place.partition(":")
        return self.by_module[module].outputs[int(index or 0)]

    def theirs(self, key: str, dtype: str = "float32") -> np.ndarray:
        return self.reference.entry("test", dtype, key)

    def run(self, port: Port) -> list[Row]:
        """All rows: decisions, activations before the RoIs, outputs on matched RoIs, detections, fairness."""
        inputs, segments = self.reference.inputs("test"), list(self.by_module.values())
        with Later() as later:
            port.chain(inputs, segments, decisions=None, grad=False, sink=later(self))
        rows = [
            reported_row(CHECK, kind, "decisions", f"of {total} decisions, differ between the frameworks", 0, differing)
            for kind, (differing, total) in self.differing.items()
        ]
        return [*rows, *self.measured, *self.result_rows()]

    def result_rows(self) -> Iterator[Row]:
        """What a user sees, and where it comes from."""
        yield from self.roi_rows()
        yield from self.detection_rows()

    def card(self) -> tuple[str, str]:
        """What a user sees, in one line at the head of the report."""
        counts = ", ".join(str(len(found.above(0.05))) for found in self.found.values())
        return "detections above 0.05 (MXNet, PyTorch)", counts

    def __call__(self, key: str, array: np.ndarray) -> None:
        segment = self.segments[key]
        theirs = self.theirs(key)
        array = as_shape(array, theirs.shape)
        if segment.op == "Activation" and segment.attrs["act_type"] == "relu" and array.ndim == 4:  # RoIs may differ
            self.count(segment.op, (array > 0) != (theirs > 0))
            if segment.module == "backbone.stem.relu":
                self.kept["stem"] = array
        elif segment.op == "Pooling" and segment.module == "backbone.stem.pool":
            own, other = (
                taken_pixels(each, segment) for each in (self.kept.pop("stem"), self.theirs(segment.inputs[0]))
            )
            self.count(segment.op, own != other)
        elif key in self.offsets:
            conv = self.offsets[key]
            own, other = (np.floor(conv_positions(conv, each)[0]) for each in (array, theirs))
            self.count(conv.op, own != other)
        if (place := self.place_of(key)) in self.outputs:
            self.kept[place] = array
        if self.reference.has_float64 and not segment.module.startswith(self.beyond_rois):
            self.measure(segment, key, array, theirs)

    def place_of(self, key: str) -> str:
        """The inverse of key_of."""
        segment = self.segments[key]
        return segment.module if len(segment.outputs) == 1 else f"{segment.module}:{segment.outputs.index(key)}"

    def count(self, op: str, differs: np.ndarray) -> None:
        entry = self.differing.setdefault(KINDS[op], [0, 0])
        entry[0] += int(differs.sum())
        entry[1] += differs.size

    def measure(self, segment: Segment, key: str, array: np.ndarray, theirs: np.ndarray) -> None:
        truth = self.theirs(key, "float64")
        errors = {
            name: largest_difference(each, truth) for name, each in (("error_mxnet", theirs), ("error_torch", array))
        }
        self.measured.append(
            reported_row(
                CHECK, segment.name, "output", "float32 error of PyTorch; expected: MXNet's own", errors["error_mxnet"],
                errors["error_torch"], depth=segment.depth, operator=segment.op,
                measures={"scale": largest(truth), **errors},
            )
        )  # fmt: skip

    def roi_rows(self) -> Iterator[Row]:
        """RoIs as sets, and the outputs on those that both frameworks keep."""
        rois, *others = self.outputs
        ours, theirs = self.kept[rois], self.theirs(self.key_of(rois))
        matching = match_boxes(theirs[:, 1:], ours[:, 1:])
        yield reported_row(
            CHECK, "rois", "RoIs", f"of {len(theirs)} RoIs, kept by one framework only", 0, matching.unmatched
        )
        for path in others:
            segment = self.segments[self.key_of(path)]
            other = self.theirs(self.key_of(path)).reshape(len(theirs), -1)[matching.pairs[:, 0]]
            own = self.kept[path].reshape(len(ours), -1)[matching.pairs[:, 1]]
            error = largest_difference(own, other)
            claim = f"largest difference on {len(matching.pairs)} matched RoIs"
            yield reported_row(CHECK, segment.name, "output", claim, 0.0, error, depth=segment.depth)

    def found_by(self, load: Callable[[str], np.ndarray]) -> Detections:
        """Detections from the outputs of a run. load: module path -> its output."""
        im_info = self.reference.inputs("test")["im_info"]
        return detections_of(*(load(path) for path in self.outputs), im_info, self.cfg)

    def mxnet_found(self, dtype: str) -> Detections:
        return self.found_by(lambda place: self.theirs(self.key_of(place), dtype))

    def posed(self, dtype: str) -> tuple[Detections, int]:
        """MXNet's detections without the RoIs that have other cells in float32 than in float64, and how many these are."""
        rois, scores, deltas = (self.theirs(self.key_of(place), dtype) for place in self.outputs)
        apart = self.rois_apart(rois)
        scores = np.where(apart[:, None], 0, scores.reshape(len(rois), -1))
        return self.found_by(dict(zip(self.outputs, (rois, scores, deltas), strict=True)).__getitem__), int(apart.sum())

    def rois_apart(self, rois: np.ndarray) -> np.ndarray:
        for segment in self.by_module.values():
            if segment.op == "ROIPooling":
                return rois_of_other_cells(segment, rois)
            if segment.kind == "fpn_roi_pooling":
                return pyramid_rois_of_other_cells(segment, rois)
        return np.zeros(len(rois), bool)

    def detection_rows(self) -> Iterator[Row]:
        self.found = {"MXNet": self.mxnet_found("float32"), "PyTorch": self.found_by(self.kept.__getitem__)}
        (single, apart), (double, _) = (self.posed(dtype) for dtype in DTYPES)
        yield from detection_rows("detections", *self.found.values(), judged=is_well_posed(single, double))
        calibrated = self.reference.about.get("calibrated", True)
        yield from posed_rows(single, double, calibrated=calibrated, apart=apart)
        full = self.cfg.network.BASE_WIDTH >= FULL_WIDTH
        yield from fairness_rows(self.found["MXNet"], self.proposal_scores(), full=full)

    def replayed_outputs(self, port: Port) -> dict[str, np.ndarray]:
        """The network's outputs by place, PyTorch taking MXNet's decisions."""
        segments = list(self.by_module.values())
        outputs: dict[str, np.ndarray] = {}

        def sink(key: str, array: np.ndarray) -> None:
            if (place := self.place_of(key)) in self.outputs:
                outputs[place] = array

        decisions = decisions_of(segments, self.theirs)
        port.chain(self.reference.inputs("test"), segments, decisions=decisions, grad=False, sink=sink)
        return outputs

    def replayed_rows(self, port: Port) -> Iterator[Row]:
        """Detections of PyTorch's float32 test graph with MXNet's decisions."""
        outputs = self.replayed_outputs(port)
        yield from detection_rows(
            "detections, replayed", self.mxnet_found("float32"), self.found_by(outputs.__getitem__)
        )

    def proposal_scores(self) -> np.ndarray | None:
        """Scores of the distinct proposals in MXNet's run; None where nothing is proposed."""
        if ROIS not in self.by_module:
            return None
        *maps, im_info = (self.theirs(key) for key in self.by_module[ROIS].inputs)
        probs, deltas = maps[: len(maps) // 2], maps[len(maps) // 2 :]
        spec, test = NetworkSpec.from_config(self.cfg), self.cfg.TEST
        kept = propose_from_pyramid(
            [prob[0, prob.shape[1] // 2 :] for prob in probs],
            [each[0] for each in deltas],
            im_info[0],
            feature_strides=spec.feature_strides,
            scales=spec.anchor_scales,
            ratios=spec.anchor_ratios,
            pre_nms_top_n=test.RPN_PRE_NMS_TOP_N,
            post_nms_top_n=test.RPN_POST_NMS_TOP_N,
            nms_thresh=test.RPN_NMS_THRESH,
            min_size=test.RPN_MIN_SIZE,
            draws=Draws(self.reference.about["seed"]),
        )
        return kept.scores[: kept.num_valid]
