"""What a user of DeepLab sees: the label maps of both frameworks."""

from collections.abc import Iterator

import numpy as np

from dcn_suite.parity.freerunning import CHECK, FreeRun
from dcn_suite.parity.judge import ERROR_RATIO, ROUNDING, largest, largest_difference
from dcn_suite.parity.port import Port
from dcn_suite.parity.rows import HOLDS, RED, Row, counted_row, reported_row
from dcn_suite.pictures import beside, data_uri, draw_labels
from dcn_tasks.segmentation import label_map

LOGITS, PROBABILITIES = "head.crop", "head.softmax"
PROBABILITY_TOLERANCE = 1e-4


class LabelRun(FreeRun):
    """As FreeRun, for label maps. found: label maps by framework."""

    beyond_rois = ()

    def output_modules(self) -> tuple[str, ...]:
        return LOGITS, PROBABILITIES

    def result_rows(self) -> Iterator[Row]:
        """Each framework deciding alone."""
        yield from self.label_rows(CHECK, self.kept[LOGITS])
        theirs = label_map(self.logits("float32"))
        self.found = {"MXNet": theirs, "PyTorch": label_map(self.kept[LOGITS])}
        classes = len(np.unique(theirs))
        yield reported_row("network", "labels", "count", "classes that win somewhere", "", classes)

    def replayed_rows(self, port: Port) -> Iterator[Row]:
        """PyTorch taking MXNet's decisions."""
        outputs = self.replayed_outputs(port)
        yield from self.label_rows("labels", outputs[LOGITS])
        theirs = self.theirs(self.by_module[PROBABILITIES].outputs[0])
        error = largest_difference(outputs[PROBABILITIES].reshape(theirs.shape), theirs)
        yield Row(
            "labels", "labels", "probabilities", "largest difference of a probability", 0.0, error, PROBABILITY_TOLERANCE,
            HOLDS if error <= PROBABILITY_TOLERANCE else RED, strain=error / PROBABILITY_TOLERANCE,
        )  # fmt: skip

    def logits(self, dtype: str) -> np.ndarray:
        return self.theirs(self.by_module[LOGITS].outputs[0], dtype)

    def label_rows(self, check: str, ours: np.ndarray) -> Iterator[Row]:
        """Labels are the same wherever the two best logits differ by more than rounding; the other pixels are counted.

        Rounding is what the judge allows: MXNet's largest float32 error and PyTorch's, twice that plus one rounding of scale,
        each for both logits.
        """
        truth, theirs = self.logits("float64"), self.logits("float32")
        error = largest_difference(theirs, truth)
        rounding = 2 * (error + ERROR_RATIO * error + ROUNDING * largest(truth))
        best = np.partition(truth[0], len(truth[0]) - 2, axis=0)[-2:]
        near = best[1] - best[0] <= rounding
        differs = label_map(ours) != label_map(theirs)
        claim = f"of {differs.size} pixels, another class although the two best logits differ by more than rounding"
        yield counted_row(check, "labels", "pixels", claim, int((differs & ~near).sum()))
        claim = f"pixels whose two best logits differ by less ({rounding:.1e}); expected: those with the same class"
        yield reported_row(check, "labels", "near ties", claim, int((near & ~differs).sum()), int(near.sum()))

    def card(self) -> tuple[str, str]:
        """What a user sees, in one line at the head of the report."""
        if len(self.found) < 2:
            return "pixels labelled", ""
        ours, theirs = self.found.values()
        return "pixels with another label, each deciding alone", f"{int((ours != theirs).sum())} of {ours.size}"

    def pictures(self) -> tuple[list[str], str]:
        """Both label maps over the photo, and the sentence above them."""
        if len(self.found) < 2:
            return [], ""
        photo = self.reference.photo
        drawn = [draw_labels(photo, labels) for labels in self.found.values()]
        text = "The best class of every pixel, each framework deciding on its own."
        return [data_uri(beside(*drawn, titles=list(self.found)), quality=90)], text
