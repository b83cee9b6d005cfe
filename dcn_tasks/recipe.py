"""What a configuration says about an update, for both frameworks: its rate, its images, how their gradients add up."""

from dcn_tasks.config import Config
from dcn_tasks.errors import InputError
from dcn_tasks.network import NetworkSpec
from dcn_tasks.schedule import WarmupMultiFactor, steps_in_updates

SUM, MEAN = "sum", "mean"


def schedule_of(cfg: Config, updates_per_epoch: int, *, warmup_from: int = 0) -> WarmupMultiFactor:
    """TRAIN.lr, lr_step (in epochs), lr_factor and warm-up.

    Args: warmup_from: updates done before the warm-up begins; the original's resume begins it again.
    """
    train = cfg.TRAIN
    steps = steps_in_updates(train.lr_step, updates_per_epoch)
    return WarmupMultiFactor(
        train.lr, steps, train.lr_factor, train.warmup, train.warmup_lr, train.warmup_step, warmup_from
    )


def images_per_update(cfg: Config) -> int:
    """As many as the recipe's devices take together: TRAIN.BATCH_IMAGES for each one in `gpus`, or for the CPU."""
    devices = [device for device in str(cfg.gpus).split(",") if device.strip()]
    return cfg.TRAIN.BATCH_IMAGES * max(1, len(devices))


def gradient_scale(cfg: Config, images: int) -> float:
    """The factor on gradients that are summed over the images of an update: 1, or 1 / images for their mean.

    TRAIN.GRADIENT_RULE says which; '' is the original's: the mean for FPN (Module's default rescale_grad), the sum for
    the others (rescale_grad=1).
    """
    rule = cfg.TRAIN.GRADIENT_RULE or (MEAN if NetworkSpec.from_config(cfg).family == "fpn" else SUM)
    if rule not in (SUM, MEAN):
        raise InputError(f"TRAIN.GRADIENT_RULE: expected sum, mean or '' (the original's), got {rule!r}")
    return 1 / images if rule == MEAN else 1.0
