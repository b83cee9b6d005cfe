"""The arithmetic of the proof: four witnesses of one quantity in, a verdict out.

The witnesses are MXNet and PyTorch, each in float32 and float64. Two claims are judged:

    function   the float64 witnesses agree to 1e-11 of the quantity's scale (its largest absolute value): both frameworks
               compute the same function, whatever their rounding;
    rounding   PyTorch's float32 error against float64 is at most twice MXNet's own, plus one rounding of the scale: the
               port is no worse an implementation of that function than the original.

MXNet's own error is that of the quantity (the gradient of a weight, say). For dense convolutions alone, where PyTorch's is
more than twice that, the layer's is asked: MXNet's largest relative error of output and gradients of that node (which MXNet
then computes, where gradients are not compared), and of the nodes before it that share its weights. They are stock library
calls on both sides, whose kernels sum in different orders; one quantity may be five times as exact in MXNet, on a map of
12 x 16, without any mistake. From end to end it is MXNet's largest of all activations, or all gradients:
there the rounding of a few early numbers moves all later ones together. Such rows say so; `by_layer` counts them.

Elements that fall into different bilinear cells in float32 and float64 belong to no common function near the kink. They
are set apart, counted, and judged float32 against float32: each witness stays within its own allowance of a common value,
so the two may differ by the sum of both allowances.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

FUNCTION_TOLERANCE = 1e-11  # of scale: sums of a few thousand float64 terms in two different orders
ERROR_RATIO = 2.0  # PyTorch's float32 error over MXNet's
MUTUAL_RATIO = 4.0  # MXNet's distance from PyTorch's float64 over PyTorch's own float32 error: sums in other orders
ROUNDING = 2.0**-23  # of scale: one unit in the last place of float32
BLOCK = 1 << 15  # elements looked at together: they stay in cache, where temporaries of whole maps cost more than sums


@dataclass(frozen=True)
class Claim:
    """One thing that has to hold: got <= tolerance. A got that is not a number does not hold.

    allowances: where the tolerance is made of MXNet's float32 error, how many times that and how many roundings of scale.
    """

    what: str
    expected: float | str
    got: float
    tolerance: float
    allowances: tuple[float, float] | None = None

    @property
    def holds(self) -> bool:
        return bool(self.got <= self.tolerance)

    @property
    def strain(self) -> float:
        """got over tolerance: above 1 it is red; infinite where nothing was allowed and something came."""
        if self.got <= 0:
            return 0.0
        if not np.isfinite(self.got):
            return float("inf")
        return float(self.got / self.tolerance) if self.tolerance > 0 else float("inf")


@dataclass
class Judgement:
    """The claims about one quantity, and the numbers behind them.

    scale: largest |value|; function_error, error_mxnet, error_torch: largest absolute errors; apart: number of elements
    judged float32 against float32; elements: number of all. by_layer: the layer's error decided.
    """

    claims: list[Claim] = field(default_factory=list)
    scale: float = 0.0
    function_error: float | None = None
    error_mxnet: float | None = None
    error_torch: float | None = None
    apart: int = 0
    elements: int = 0
    by_layer: bool = False

    @property
    def relative_error_mxnet(self) -> float:
        """MXNet's float32 error over the scale; 0 where there is none."""
        return self.error_mxnet / self.scale if self.error_mxnet and self.scale else 0.0

    def ask_layer(self, relative_error: float) -> None:
        """Judges broken rounding claims by the layer's error in MXNet (over the scale) instead of the quantity's own."""
        for place, claim in enumerate(self.claims):
            if claim.allowances is None or claim.holds or relative_error <= self.relative_error_mxnet:
                continue
            times, roundings = claim.allowances
            error = relative_error * self.scale
            tolerance = times * error + roundings * ROUNDING * self.scale
            self.claims[place] = replace(claim, what=f"{claim.what}, of the layer", expected=error, tolerance=tolerance)
            self.by_layer = True

    @property
    def worst(self) -> Claim:
        """The first broken claim, else the most strained one."""
        broken = [claim for claim in self.claims if not claim.holds]
        return broken[0] if broken else max(self.claims, key=lambda claim: claim.strain)

    @property
    def holds(self) -> bool:
        return all(claim.holds for claim in self.claims)


def largest(values: np.ndarray) -> float:
    """max |value| as float64; 0 of nothing; NaN where one of them is not a number."""
    result = 0.0
    for (block,) in blocks(values):
        low, high = float(block.min()), float(block.max())
        if low != low:  # a NaN anywhere is both the minimum and the maximum
            return low
        result = max(result, abs(low), abs(high))
    return result


def largest_difference(a: np.ndarray, b: np.ndarray, counted: np.ndarray | None = None) -> float:
    """max |a - b| in float64; 0 where both are the same infinity, as it is for equal numbers; NaN where one is none.

    Args: a, b: of one shape. counted: bool, broadcastable to it; the elements that are compared. None: all.
    """
    result = 0.0
    masks = [] if counted is None else [np.broadcast_to(counted, a.shape)]
    with np.errstate(invalid="ignore"):
        for x, y, *mask in blocks(a, b, *masks):
            if mask:
                x, y = x[mask[0]], y[mask[0]]
            between = np.abs(np.subtract(x, y, dtype=np.float64))
            most = float(between.max(initial=0.0))
            if not np.isfinite(most):
                most = float(np.where(np.equal(x, y), 0.0, between).max(initial=0.0))
            if most != most:
                return most
            result = max(result, most)
    return result


def blocks(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The same stretches of flattened arrays of one shape, small enough for a processor's cache."""
    flat = [array.reshape(-1) for array in arrays]
    for first in range(0, flat[0].size, BLOCK):
        yield tuple(array[first : first + BLOCK] for array in flat)


def shapes_differ(arrays: dict[str, np.ndarray]) -> Claim | None:
    """A claim that fails, where the witnesses do not even have one shape."""
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    if len(set(shapes.values())) <= 1:
        return None
    names = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    return Claim(f"one shape ({names})", "one shape", float("inf"), 0.0)


def judge_function(judgement: Judgement, mxnet64: np.ndarray, torch64: np.ndarray) -> None:
    """Adds the claim that the float64 witnesses agree."""
    differs = shapes_differ({"MXNet": mxnet64, "PyTorch": torch64})
    if differs:
        judgement.claims.append(differs)
        return
    scale = largest(mxnet64)
    judgement.scale = max(judgement.scale, scale)
    judgement.elements = mxnet64.size
    judgement.function_error = largest_difference(mxnet64, torch64)
    judgement.claims.append(
        Claim("float64 PyTorch = float64 MXNet", 0.0, judgement.function_error, FUNCTION_TOLERANCE * scale)
    )


def judge_rounding(
    judgement: Judgement, mxnet32: np.ndarray, torch32: np.ndarray, truth: np.ndarray, apart: np.ndarray | None = None
) -> None:
    """Adds the claim that PyTorch's float32 error is at most twice MXNet's plus one rounding of the scale.

    Args:
        truth: float64. apart: bool of the same shape (or broadcastable to it), the elements on a kink; None: none.
    """
    differs = shapes_differ({"MXNet": mxnet32, "PyTorch": torch32, "float64": truth})
    if differs:
        judgement.claims.append(differs)
        return
    scale = largest(truth)
    judgement.scale = max(judgement.scale, scale)
    judgement.elements = truth.size
    counted = None
    if apart is not None and apart.any():
        judgement.apart = int(np.broadcast_to(apart, truth.shape).sum())
        counted = ~apart
    judgement.error_mxnet = largest_difference(mxnet32, truth, counted)
    judgement.error_torch = largest_difference(torch32, truth, counted)
    claims = [
        ("float32 PyTorch's error against MXNet's", judgement.error_mxnet, judgement.error_torch, (ERROR_RATIO, 1.0))
    ]
    if judgement.apart:
        between = largest_difference(mxnet32, torch32, apart)
        claims.append(("float32 PyTorch = float32 MXNet on the kink", 0.0, between, (ERROR_RATIO + 1, 2.0)))
    for what, expected, got, (times, roundings) in claims:
        tolerance = times * judgement.error_mxnet + roundings * ROUNDING * scale
        judgement.claims.append(Claim(what, expected, got, tolerance, (times, roundings)))


def judge_without_float64(judgement: Judgement, mxnet32: np.ndarray, torch32: np.ndarray, torch64: np.ndarray) -> None:
    """Adds the claims that hold PyTorch's float64 to MXNet's float32, where MXNet's float64 is not to be had.

    Each framework's float32 lies about as far from it as the other's: what PyTorch gets wrong in both precisions is far
    from MXNet's float32 and near to its own.
    """
    judge_rounding(judgement, mxnet32, torch32, torch64)
    if judgement.error_mxnet is None or judgement.error_torch is None:
        return
    tolerance = MUTUAL_RATIO * judgement.error_torch + 2 * ROUNDING * judgement.scale
    what = "float32 MXNet's distance from float64 PyTorch against PyTorch's"
    judgement.claims.append(Claim(what, judgement.error_torch, judgement.error_mxnet, tolerance))


def judge(
    mxnet32: np.ndarray,
    mxnet64: np.ndarray,
    torch32: np.ndarray,
    torch64: np.ndarray,
    *,
    apart: np.ndarray | None = None,
    truth: np.ndarray | None = None,
) -> Judgement:
    """Both claims about one quantity on one input.

    Args: four arrays of one shape; apart: see judge_rounding. truth: what the float32 runs are measured by; None: mxnet64.
    """
    judgement = Judgement()
    judge_function(judgement, mxnet64, torch64)
    judge_rounding(judgement, mxnet32, torch32, mxnet64 if truth is None else truth, apart)
    return judgement
