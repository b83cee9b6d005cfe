"""Runs random calls of every operator and holds them to what must be true of any call.

    python tests/ops/fuzz.py --seconds 600                    every family of operators in turn, from case 0 on
    python tests/ops/fuzz.py --family pooling --first 1234 --count 1 --verbose

A call either is refused, in our words and in the same words by the fake kernel, or ends, forward and backward, with the
shape, type and strides that the fake kernel foretold, leaving an image without bad values finite. That no call reads or
writes beyond an array is seen by `tests/sanitizers.sh address tests/ops/test_fuzz.py`.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from fuzz_calls import FAMILIES, Draw, FuzzCall, fuzz_call
from instruction_sets import available, instruction_set
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

OF_VALUES = "expected image indices"  # which a fake tensor does not have
Shapes = list[tuple]


@contextmanager
def kernels(draw: Draw) -> Iterator[None]:
    """Now and then another instruction set, split products, more threads."""
    threads = torch.get_num_threads()
    before = torch.ops.dcn.set_cpu_precision(draw.often("float32", "bf16x3" if torch.ops.dcn.has_amx() else "float32"))
    torch.set_num_threads(draw.often(threads, 3))
    try:
        with instruction_set(draw.often("best", *available())):
            yield
    finally:
        torch.ops.dcn.set_cpu_precision(before)
        torch.set_num_threads(threads)


def invoke(call: FuzzCall, tensors: dict[str, Tensor | None]) -> tuple[Tensor, ...]:
    result = getattr(torch.ops.dcn, call.operator)(*tensors.values(), *call.positional, **call.named)
    return result if isinstance(result, tuple) else (result,)


def described(tensors: tuple[Tensor, ...]) -> Shapes:
    """Shape, type, and strides where they mean something."""
    return [
        (tuple(t.shape), t.dtype, tuple(s if n > 1 else 0 for n, s in zip(t.shape, t.stride(), strict=True)))
        for t in tensors
    ]


def foretold(call: FuzzCall) -> Shapes | str:
    """What the fake kernel says: shapes, or its refusal."""
    with FakeTensorMode(shape_env=ShapeEnv()) as mode:
        fakes = {k: t if t is None else mode.from_tensor(t, static_shapes=True) for k, t in call.tensors.items()}
        try:
            return described(invoke(call, fakes))
        except RuntimeError as refusal:
            return str(refusal)


def backwards(call: FuzzCall, draw: Draw, leaves: dict[str, Tensor], output: Tensor) -> None:
    head = draw.tensor(tuple(output.shape), output.dtype)
    if draw.one(True, False):
        draw.spoil(head)
    for name, gradient in zip(leaves, torch.autograd.grad(output, list(leaves.values()), head), strict=True):
        t = leaves[name]
        assert gradient.shape == t.shape and gradient.dtype == t.dtype, f"gradient of {name}: {described((gradient,))}"


def hold(call: FuzzCall, draw: Draw) -> str:
    """ "ran" or "refused"; AssertionError where something that must be true is not."""
    expected = foretold(call)
    wanted = [name for name in call.leaves if call.tensors[name] is not None and draw.one(True, False)]
    floating = [name for name in wanted if call.tensors[name].is_floating_point()]  # type: ignore[union-attr]
    tensors = {k: t.detach().requires_grad_() if k in floating else t for k, t in call.tensors.items()}  # type: ignore[union-attr]
    try:
        with kernels(draw):
            results = invoke(call, tensors)
            if floating and results[0].requires_grad:
                backwards(call, draw, {k: tensors[k] for k in floating}, results[0])  # type: ignore[misc]
    except RuntimeError as refusal:
        words = str(refusal).splitlines()[0]
        assert words.startswith(call.operator) and "expected" in words and "got" in words, f"not our words: {refusal}"
        same = OF_VALUES in words or words == str(expected).splitlines()[0]
        assert same, f"the kernel says {words!r}, the fake one {expected!r}"
        return "refused"
    if call.operator == "nms":
        assert len(set(results[0].tolist())) == len(results[0]) <= len(call.tensors["boxes"]), "a box is kept twice"  # type: ignore[arg-type]
    else:
        assert described(results) == expected, f"{described(results)}, but the fake kernel says {expected}"
    if call.bounded is not None:
        assert bool(torch.isfinite(results[0][call.bounded]).all()), "another image's bad values came through"
    return "ran"


def fuzz(family: str, first: int, count: int, verbose: bool = False) -> Counter:
    """Cases [first, first + count) of one family; how many ran and how many were refused."""
    counts: Counter = Counter()
    for case in range(first, first + count):
        call = fuzz_call(family, case)
        if verbose:
            print(case, call, file=sys.stderr, flush=True)
        try:
            counts[hold(call, Draw(case))] += 1
        except Exception as error:
            raise AssertionError(f"--family {family} --first {case}: {call}: {error}") from error
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--family", choices=sorted(FAMILIES), action="append")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, help="cases of each family, instead of --seconds")
    parser.add_argument("--verbose", action="store_true", help="name every case before it runs")
    args = parser.parse_args()
    counts = {family: Counter() for family in args.family or FAMILIES}
    end, first, step = time.monotonic() + args.seconds, args.first, args.count or 50
    while first == args.first or (args.count is None and time.monotonic() < end):
        for family, total in counts.items():
            total.update(fuzz(family, first, step, args.verbose))
        first += step
    for family, total in counts.items():
        print(f"{family}: {total['ran']} ran, {total['refused']} refused; all held")


if __name__ == "__main__":
    main()
