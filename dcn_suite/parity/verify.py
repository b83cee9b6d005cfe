"""Parity of a given checkpoint: what `dcn convert --verify` runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dcn_suite.parity.report import write_report
from dcn_suite.parity.run import Settings, run_parity
from dcn_tasks.config import Config
from weights_convert import Params


def verify(
    params: Params,
    cfg: Config,
    out: str | Path,
    *,
    size: tuple[int, int] | None = None,
    grad: bool = False,
    step: Callable[[str], None] = lambda text: None,
) -> dict:
    """Runs MXNet and PyTorch with the checkpoint's own weights, node by node and end to end, and writes the report.

    Args:
        params: of the checkpoint, `_test` copies included. cfg: its configuration.
        out: folder for parity.json and report.html. size: of the photo in the network; None: the configuration's SCALES.
        grad: gradients too.
    Returns: what parity.json holds; ["holds"] is the verdict.
    Raises: InputError where MXNet is not installed.
    """
    arrays = {f"arg:{name}": np.asarray(value, np.float32) for name, value in params.arg.items()}
    arrays |= {f"aux:{name}": np.asarray(value, np.float32) for name, value in params.aux.items()}
    settings = Settings(size or tuple(cfg.SCALES[0]), grad)
    result = run_parity(cfg, settings, parameters=arrays, step=step)
    write_report(result, Path(out))
    return result.as_dict()
