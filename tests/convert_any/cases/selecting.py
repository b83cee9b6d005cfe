"""Looking up, sorting, masking."""

import numpy as np

from tests.convert_any.cases.case import case, numbers, whole

X = (3, 4, 5)

CASES = {
    "take": {
        "clip": case(X, numbers((-1, 0), (2, 9)), axis=1),
        "wrap": case(X, numbers(-1, 5), axis=-1, mode="wrap"),
        "rows": case((5, 2), numbers(4, 0, 4)),
    },
    "batch_take": {"one of each row": case((4, 3), whole(0, 2, 1, 2)), "outside": case((4, 3), whole(-1, 3, 9, 0))},
    "pick": {"last axis": case((3, 4), numbers(0, 3, 1)), "kept": case(X, ((3, 5), 0, 3), axis=1, keepdims=True)},
    "gather_nd": {"pairs": case(X, numbers((0, 2), (3, 1)))},
    "scatter_nd": {"pairs": case((2,), numbers((0, 2), (3, 1)), shape="(3, 4)")},
    "one_hot": {"outside": case(numbers(0, 2, 5, -1), depth=3, on_value=2.0, off_value=-1.0)},
    "where": {
        "one shape": case(numbers((0, 1), (2, 0)), (2, 2), (2, 2)),
        "rows": case(numbers(0, 1), (2, 3), (2, 3)),
    },
    "_contrib_boolean_mask": {"rows": case((4, 3), numbers(0, 1, 1, 0))},
    "topk": {
        "places": case(X, k=2, axis=1),
        "values": case(X, k=2, ret_typ="value"),
        "both, ascending": case(X, k=2, ret_typ="both", is_ascend=True),
        "mask": case(X, k=2, ret_typ="mask", axis=0),
    },
    "sort": {"descending": case(X, axis=1, is_ascend=False)},
    "argsort": {"ascending": case(X, axis=-1)},
    "SequenceMask": {
        "value": case((4, 3, 2), numbers(1, 4, 2), use_sequence_length=True, value=-1.0),
        "axis 1": case((3, 4, 2), numbers(1, 4, 2), use_sequence_length=True, axis=1),
        "no lengths": case((4, 3, 2)),
    },
    "SequenceLast": {"lengths": case((4, 3, 2), numbers(1, 4, 2), use_sequence_length=True), "none": case((4, 3, 2))},
    "SequenceReverse": {
        "lengths": case((4, 3, 2), numbers(1, 4, 2), use_sequence_length=True),
        "none": case((4, 3, 2)),
    },
    "_slice_assign": {"window": case((4, 5), (2, 2), begin="(1, 1)", end="(3, 3)")},
    "_contrib_index_copy": {"rows": case((4, 3), numbers(2, 0), (2, 3))},
    "_unravel_index": {"flat": case(np.array([0, 5, 11]), shape="(3, 4)")},
    "_contrib_interleaved_matmul_encdec_qk": {"two heads": case((3, 2, 8), (4, 2, 16), heads=2, only32=True)},
    "_contrib_interleaved_matmul_encdec_valatt": {"two heads": case((4, 2, 16), (4, 3, 4), heads=2, only32=True)},
    "_contrib_interleaved_matmul_selfatt_qk": {"two heads": case((4, 2, 24), heads=2, only32=True)},
    "_contrib_interleaved_matmul_selfatt_valatt": {"two heads": case((4, 2, 24), (4, 4, 4), heads=2, only32=True)},
}
