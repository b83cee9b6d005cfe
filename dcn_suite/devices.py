"""The device that a command computes on."""

from typing import TYPE_CHECKING

from dcn_tasks.errors import InputError

if TYPE_CHECKING:
    import torch


def torch_device(name: str | None) -> "torch.device":
    """Args: name: cpu, cuda or cuda:N; None: the GPU that is there, else the CPU. Raises: InputError for what is not there."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        device = torch.device(name or ("cuda" if count else "cpu"))
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"--device: expected cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= count:
        seen = "this PyTorch sees no GPU" if count == 0 else f"this PyTorch sees {count} GPUs"
        raise InputError(
            f"--device: expected cpu{'' if count == 0 else ' or a GPU that is there'}, since {seen}, got {name}"
        )
    return device


def refuse_device_for_mxnet(name: str | None) -> None:
    """Raises: InputError for anything but the CPU: this package runs MXNet there alone."""
    if name not in (None, "cpu"):
        raise InputError(f"--device: MXNet computes on the CPU here, got {name}: leave it out, or --framework torch")
