"""What a convolution or a pooling leaves of a side: n_out = floor((n + 2p - k) / s) + 1."""

from typing import Literal

from anomalyst.errors import AnomalystError

Padding = Literal["valid", "same", "full"]


def padding_of(name: Padding | int, kernel: int) -> int:
    """How many pixels are put at each end of a side.

    valid: none, n - k + 1 remain; same: n remain, at stride 1; full: n + k - 1. Raises
    AnomalystError for `same` of an even kernel, which would need one more at one end.
    """
    if isinstance(name, int):
        return name
    if name == "same" and kernel % 2 == 0:
        raise AnomalystError(
            f"padding same: a kernel of {kernel} has no middle; take an odd one, or a number."
        )
    return {"valid": 0, "same": kernel // 2, "full": kernel - 1}[name]


def size_out(
    size: int, kernel: int, *, stride: int = 1, padding: Padding | int = 0, exact: bool = False
) -> int:
    """The pixels of a side that remain.

    Raises AnomalystError for a kernel larger than the padded side, and with `exact` where strides
    do not end at its end.
    """
    pad = padding_of(padding, kernel)
    if min(size, kernel, stride) < 1 or pad < 0:
        raise AnomalystError(
            f"side {size}, kernel {kernel}, stride {stride}, padding {pad}: sides, kernels and "
            "strides are 1 or more, paddings 0 or more."
        )
    room = size + 2 * pad - kernel
    if room < 0:
        raise AnomalystError(
            f"a kernel of {kernel} does not fit a side of {size} with padding {pad}; at most "
            f"{size + 2 * pad} does, or take fewer strides and poolings before it."
        )
    if exact and room % stride:
        raise AnomalystError(
            f"side {size}, kernel {kernel}, stride {stride}, padding {pad} does not fit: "
            f"{room / stride + 1:.2f} places; {room % stride} pixels would be left over."
        )
    return room // stride + 1
