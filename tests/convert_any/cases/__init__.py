"""Every tested case of every operator: OPERATOR -> {name of the case: Case}. docs/operators.md lists the names."""

from tests.convert_any.cases import arithmetic, detection, int8, layers, moving, selecting
from tests.convert_any.cases.case import Case

CASES: dict[str, dict[str, Case]] = {
    **layers.CASES,
    **arithmetic.CASES,
    **moving.CASES,
    **selecting.CASES,
    **detection.CASES,
    **int8.CASES,
}
