"""The proof: the same input through MXNet and PyTorch, node by node and end to end, forward and backward."""

from dcn_suite.parity.rows import Row, Table
from dcn_suite.parity.verify import verify

__all__ = ["Row", "Table", "verify"]
