"""The recording that ships with the package, and a comparison against it."""

from collections.abc import Callable
from pathlib import Path

import pytest

import dcn_suite.parity
from dcn_suite.parity.report import Result
from dcn_suite.parity.run import Settings, run_parity

SHIPPED = Path(dcn_suite.parity.__file__).parent / "recordings" / "rfcn_dcn"
CONFIG = "demo/recorded_rfcn_dcn"
SIZE = (40, 56)


@pytest.fixture(scope="session")
def against_recording() -> Callable[..., Result]:
    """Runs PyTorch's side, with changed Settings, against MXNet's recorded one."""

    def run(**settings) -> Result:
        return run_parity(CONFIG, Settings(SIZE, grad=True, **settings), recording=SHIPPED)

    return run
