"""Training a configuration in either framework, from the same weights, on the same batches, in a folder that can be resumed."""

from dcn_suite.training.run import Settings, run_training

__all__ = ["Settings", "run_training"]
