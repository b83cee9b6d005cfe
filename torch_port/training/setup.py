"""From a configuration to everything a training needs: the only place in torch_port.training that reads one."""

from dcn_tasks.config import Config
from dcn_tasks.recipe import gradient_scale, schedule_of
from torch_port.models import ClassAwareRPN, DeepLab, TwoStage
from torch_port.models.build import fixed_parameters
from torch_port.training.loop import Training
from torch_port.training.sgd import SGD, parameter_groups


def training_for(
    network: TwoStage | ClassAwareRPN | DeepLab,
    cfg: Config,
    *,
    updates_per_epoch: int,
    seed: int = 0,
    images_per_update: int = 1,
    warmup_from: int = 0,
) -> Training:
    """Optimiser and schedule of a configuration around a network whose FIXED_PARAMS stop requiring gradients.

    Args:
        cfg: network.FIXED_PARAMS and TRAIN.{lr, lr_step, lr_factor, warmup*, momentum, wd, GRADIENT_RULE} are read.
        updates_per_epoch: lr_step counts in epochs. images_per_update: over all processes.
        warmup_from: updates done before the warm-up begins.
    """
    train = cfg.TRAIN
    groups = parameter_groups(network, weight_decay=train.wd, fixed=fixed_parameters(network, cfg.network.FIXED_PARAMS))
    optimizer = SGD(groups, lr=train.lr, momentum=train.momentum, rescale_grad=gradient_scale(cfg, images_per_update))
    return Training(network, optimizer, schedule_of(cfg, updates_per_epoch, warmup_from=warmup_from), seed=seed)
