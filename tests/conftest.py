"""Where optional data is, which frameworks are there, and what is skipped for want of them (always with a reason)."""

import importlib.util
import os
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("MXNET_SUBGRAPH_BACKEND", "NONE")  # oneDNN fusion breaks binding of internal outputs
os.environ.setdefault("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")

hypothesis.settings.register_profile("untimed", deadline=None)  # tests assert no times
hypothesis.settings.load_profile("untimed")
REPOSITORY = Path(__file__).resolve().parent.parent
OPTIONAL = {"DCN_DATA": "data", "DCN_CHECKPOINTS": "checkpoints", "DCN_SPEC": "spec"}


def optional_folder(variable: str) -> Path:
    """The folder named by the environment variable, or ../shared/<its name>; skips the test when it is absent."""
    folder = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / OPTIONAL[variable])
    if not folder.is_dir():
        pytest.skip(f"optional data absent: {folder} (set {variable})")
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    return optional_folder("DCN_DATA")


@pytest.fixture(scope="session")
def checkpoints_folder() -> Path:
    return optional_folder("DCN_CHECKPOINTS")


@pytest.fixture(scope="session")
def spec_folder() -> Path:
    return optional_folder("DCN_SPEC")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    missing = {}
    if importlib.util.find_spec("mxnet") is None:
        missing["mxnet"] = "MXNet 1.9.1 is not installed: the live oracle is absent"
    if not torch.cuda.is_available():
        missing["cuda"] = "no NVIDIA GPU here: run benchmarks/gpu.sh on a machine with one"
    for item in items:
        for marker, reason in missing.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
