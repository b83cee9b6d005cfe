"""`dcn parity all`: every system of the paper through both frameworks, one after another, into one table."""

from dcn_suite.parity.suite.plan import PlannedRun, planned_runs
from dcn_suite.parity.suite.results import Results
from dcn_suite.parity.suite.run import run_all

__all__ = ["PlannedRun", "Results", "planned_runs", "run_all"]
