"""Oracles of the task arithmetic."""

import warnings
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def gluoncv() -> ModuleType:
    """GluonCV 0.8, whose import warns about its own use of distutils and of optional packages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import gluoncv
        import gluoncv.utils.metrics.voc_detection
    return gluoncv
