"""From a configuration to everything a training needs: the only place in torch_port.training that reads one."""

from dcn_tasks.config import Config
from dcn_tasks.schedule import WarmupMultiFactor, steps_in_updates
from torch_port.models import ClassAwareRPN, DeepLab, TwoStage
from torch_port.models.build import fixed_parameters
from torch_port.training.loop import Training
from torch_port.training.sgd import SGD, parameter_groups


def training_for(
    network: TwoStage | ClassAwareRPN | DeepLab, cfg: Config, *, updates_per_epoch: int, seed: int = 0
) -> Training:
    """Optimiser and schedule of a configuration around a network whose FIXED_PARAMS stop requiring gradients.

    Args:
        cfg: network.FIXED_PARAMS and TRAIN.{lr, lr_step, lr_factor, warmup*, momentum, wd} are read.
        updates_per_epoch: number of training images; lr_step counts in epochs.
    """
    train = cfg.TRAIN
    groups = parameter_groups(network, weight_decay=train.wd, fixed=fixed_parameters(network, cfg.network.FIXED_PARAMS))
    schedule = WarmupMultiFactor(
        train.lr,
        steps_in_updates(train.lr_step, updates_per_epoch),
        train.lr_factor,
        train.warmup,
        train.warmup_lr,
        train.warmup_step,
    )
    return Training(network, SGD(groups, lr=train.lr, momentum=train.momentum), schedule, seed=seed)
