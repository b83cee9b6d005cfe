"""Parity of a given checkpoint: what `dcn convert --verify` runs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from dcn_tasks.config import Config
from weights_convert import Params


def verify(
    params: Params,
    cfg: Config,
    weights: str | Path | None = None,
    *,
    out: str | Path | None = None,
    size: tuple[int, int] | None = None,
    grad: bool = False,
    step: Callable[[str], None] = lambda text: None,
) -> dict:
    """Runs MXNet with a checkpoint's arrays and PyTorch with the converted ones, node by node and end to end.

    Args:
        params: of the checkpoint, `_test` copies included. cfg: its configuration.
        weights: the .safetensors file made from it; None: converted here.
        out: folder for report.html and parity.json; None: none. size: of the photo in the network, pixels; None: the
            configuration's SCALES. grad: gradients too.
    Returns: what parity.json holds, and ["verdict"]: "holds" or "does not hold".
    Raises: InputError for arrays that do not fit the configuration; ModuleNotFoundError where MXNet is not installed.
    """
    from dcn_suite.parity.report import write_report
    from dcn_suite.parity.run import Settings, run_parity
    from weights_convert import load_weights

    states = (("arg", params.arg), ("aux", params.aux))
    arrays = {
        f"{state}:{name}": np.asarray(value, np.float32) for state, group in states for name, value in group.items()
    }
    converted = load_weights(weights) if weights is not None else None
    settings = Settings(size or tuple(cfg.SCALES[0]), grad, weights=converted)
    result = run_parity(cfg, settings, parameters=arrays, step=step)
    if out is not None:
        write_report(result, Path(out))
    return {"verdict": "holds" if result.table.holds else "does not hold", **result.as_dict()}
