"""Learning rate by update (original `lib/utils/lr_scheduler.py`, WarmupMultiFactorScheduler)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupMultiFactor:
    """A constant warm-up rate, then base_lr, multiplied by `factor` after each step.

    Args:
        base_lr: after the warm-up. steps: updates after which the rate is multiplied by `factor`, increasing.
        warmup: whether updates below `warmup_step` use `warmup_lr`. warmup_from: updates done before they are counted.
    """

    base_lr: float
    steps: Sequence[int]
    factor: float
    warmup: bool = False
    warmup_lr: float = 0.0
    warmup_step: int = 0
    warmup_from: int = 0

    def __call__(self, num_update: int) -> float:
        """Rate of the update with this number, the first being 1 as in MXNet; a step takes effect when num_update > step."""
        if self.warmup and num_update - self.warmup_from < self.warmup_step:
            return self.warmup_lr
        return self.base_lr * self.factor ** sum(num_update > step for step in self.steps)


def steps_in_updates(lr_step: str, updates_per_epoch: int) -> list[int]:
    """TRAIN.lr_step ("4.83" or "4,6", in epochs) in updates, rounded down as in the original."""
    return [int(float(epoch) * updates_per_epoch) for epoch in lr_step.split(",") if epoch.strip()]
