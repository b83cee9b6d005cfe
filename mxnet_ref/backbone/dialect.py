"""How each of the original's symbol files writes the one backbone that they share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    """What differs between the files; none of it changes a number but `res5_stride`.

    dilated_cudnn_off, offset_cudnn_off: those convolutions carry cudnn_off. offset_variables: offset convolutions get
    variables of their own, whose bias learns twice as fast. res5_stride: of res5's first unit. writes_res5_dilation: also
    where it is 1.
    shortcut_last: res5's projection comes after the branch, not before it.
    """

    dilated_cudnn_off: bool = True
    offset_cudnn_off: bool = True
    offset_variables: bool = False
    res5_stride: int = 1
    writes_res5_dilation: bool = False
    shortcut_last: bool = False


DIALECTS = {
    "deeplab": Dialect(dilated_cudnn_off=False, offset_cudnn_off=False, offset_variables=True),
    "fpn": Dialect(
        dilated_cudnn_off=False, offset_cudnn_off=False, res5_stride=2, writes_res5_dilation=True, shortcut_last=True
    ),
    "rcnn": Dialect(dilated_cudnn_off=False),
}


def dialect_of(family: str) -> Dialect:
    """The dialect of a family of networks; R-FCN's is the default one."""
    return DIALECTS.get(family, Dialect())
