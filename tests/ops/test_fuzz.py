"""Random calls of every operator: whatever the shapes, parameters and values, a call is refused in words or ends rightly."""

import pytest
import torch
from fuzz import FAMILIES, foretold, fuzz, hold, invoke
from fuzz_calls import Draw, FuzzCall, fuzz_call

COUNTS = {"convolution": 150, "pooling": 200, "suppression": 100, "proposals": 100}


@pytest.mark.parametrize("family", FAMILIES)
def test_random_calls_are_refused_in_words_or_end_rightly(family: str):
    counts = fuzz(family, 0, COUNTS[family])
    assert min(counts["ran"], counts["refused"]) > COUNTS[family] // 10, "the cases are all of one kind"


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_many_random_calls(family: str):
    fuzz(family, 1000, 5000)


def test_what_the_fuzzer_holds_calls_to_can_fail(monkeypatch: pytest.MonkeyPatch):
    """A kernel that lets a bad value through, one whose result has another shape, one that refuses in other words."""
    call = next(c for c in (fuzz_call("convolution", case) for case in range(99)) if c.bounded is not None)

    def pretending(result: torch.Tensor | Exception) -> None:
        """The real kernel gives `result`; the fake one stays what it is."""

        def kernel(call: FuzzCall, tensors: dict) -> tuple[torch.Tensor, ...]:
            if type(tensors["input"]) is not torch.Tensor:
                return invoke(call, tensors)
            if isinstance(result, Exception):
                raise result
            return (result,)

        monkeypatch.setattr("fuzz.invoke", kernel)

    (shape, dtype, _), *_ = foretold(call)
    pretending(torch.full(shape, float("nan"), dtype=dtype))
    with pytest.raises(AssertionError, match="bad values came through"):
        hold(call, Draw(0))
    pretending(torch.zeros(1, *shape, dtype=dtype))
    with pytest.raises(AssertionError, match="but the fake kernel says"):
        hold(call, Draw(0))
    pretending(RuntimeError("index out of range"))
    with pytest.raises(AssertionError, match="not our words"):
        hold(call, Draw(0))
