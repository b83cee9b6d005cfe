"""The narrow network of tests/models, for training."""

import importlib.util
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "models" / "conftest.py"
specification = importlib.util.spec_from_file_location("narrow_networks", SOURCE)
narrow_networks = importlib.util.module_from_spec(specification)
specification.loader.exec_module(narrow_networks)
narrow, batch = narrow_networks.narrow, narrow_networks.batch
