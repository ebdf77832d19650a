# SPDX-License-Identifier: Apache-2.0
"""Checks that every public function shares: each turns an argument into what a kernel takes, or names it in an error.

Kernels run without the GIL and cannot raise, so everything that can fail fails here.
"""

from __future__ import annotations

import operator
import reprlib
from math import prod

import numpy as np

from .errors import CmsisnnError, DtypeError, GeometryError, ShapeError, ShiftError
from .op import Case
from .scheme import POW2_TYPES, SHIFT_MAX

DTYPES = {name: item.dtype for name, item in POW2_TYPES.items()}
Q7, Q15 = DTYPES["q7"], DTYPES["q15"]
GEOMETRY_MAX = 65535
"""Largest stride, kernel, padding and output side: they are 16-bit in the C interface."""
TENSOR_BYTES_MAX = 2**31 - 1
SOFTMAX_MAX = 32767
SOFTMAX_COLUMNS_MAX = 8191
"""With zero points: sums of exponentials have 32 bits."""
"""Elements of a sample: Arm's functions count them in an ``int16_t``, and beyond it never end. The header of the device
kernel, whose sum is unsigned, refuses only what its arithmetic cannot do, from 65536 on.
"""


def integer(name: str, value: object, low: int, high: int, error: type[CmsisnnError] = ShapeError) -> int:
    """`value` as an int in low..high; anything with an integral value will do (NumPy integers, 2.0)."""
    if type(value) is int and low <= value <= high:
        return value
    try:
        if isinstance(value, float | np.floating | np.bool_) and value == int(value):
            value = int(value)
        number = operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = low - 1
    if not low <= number <= high:
        raise error(f"{name}: expected an integer from {low} to {high}, got {reprlib.repr(value)}")
    return number


def shift(name: str, value: object) -> int:
    return integer(name, value, 0, SHIFT_MAX, ShiftError)


def pair(name: str, value: object, low: int, high: int = GEOMETRY_MAX) -> tuple[int, int]:
    """An int or ``(y, x)`` as ``(y, x)``."""
    if isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim):
        if len(value) != 2:
            raise ShapeError(f"{name}: expected an int or (y, x), got {reprlib.repr(value)}")
        return integer(f"{name}[0]", value[0], low, high), integer(f"{name}[1]", value[1], low, high)
    both = integer(name, value, low, high)
    return both, both


def one_of(name: str, value: object, legal: tuple[str | None, ...]) -> str | None:
    if (value is None or isinstance(value, str)) and value in legal:
        return value
    raise CmsisnnError(f"{name}: expected {' or '.join(map(repr, legal))}, got {reprlib.repr(value)}")


def quantized(name: str, value: object, *dtypes: np.dtype) -> np.ndarray:
    """`value` as an array of one of `dtypes` (default: q7 or q15), not converted."""
    legal = dtypes or (Q7, Q15)
    try:
        array = np.asarray(value)
    except Exception as error:
        raise DtypeError(f"{name}: expected an array of {_named(legal)}, got {reprlib.repr(value)}") from error
    if array.dtype not in legal:
        raise DtypeError(f"{name}: expected dtype {_named(legal)}, got {array.dtype}")
    return array


def scheme_type(array: np.ndarray) -> str:
    """The fixed-point type that an element type stands for in these functions."""
    return "q7" if array.dtype == Q7 else "q15"


def _named(dtypes: tuple[np.dtype, ...]) -> str:
    return " or ".join(f"{dtype} ({'q7' if dtype == Q7 else 'q15'})" for dtype in dtypes)


def contiguous(array: np.ndarray) -> np.ndarray:
    """C order and alignment, which kernels rely on; a copy only where needed."""
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.require(array, requirements=("C", "ALIGNED"))


def flat(array: np.ndarray) -> np.ndarray:
    return contiguous(array.reshape(-1))


def sized(name: str, array: np.ndarray, shape: tuple[int, ...], meaning: str) -> np.ndarray:
    """`array` in kernel order if it has exactly `shape`."""
    if array.shape != shape:
        raise ShapeError(f"{name}: expected shape {shape} = {meaning}, got {array.shape}")
    return contiguous(array)


def images(name: str, array: np.ndarray) -> np.ndarray:
    """``(h, w, c)`` or ``(n, h, w, c)`` as the latter; n may be 0, the others not."""
    if array.ndim not in (3, 4) or 0 in array.shape[-3:]:
        raise ShapeError(f"{name}: expected a non-empty (h, w, c) or (n, h, w, c), got shape {array.shape}")
    return contiguous(array if array.ndim == 4 else array[np.newaxis])


def samples(name: str, array: np.ndarray) -> np.ndarray:
    """One sample ``(k,)`` or ``(h, w, c)``, or a batch of them, as ``(n, k)``; n may be 0."""
    batched = array.ndim in (2, 4)
    size = prod(array.shape[1:] if batched else array.shape)
    if array.ndim not in (1, 2, 3, 4) or size == 0:
        legal = "a non-empty (k,) or (h, w, c), or a batch (n, k) or (n, h, w, c)"
        raise ShapeError(f"{name}: expected {legal}, got shape {array.shape}")
    return contiguous(array.reshape(array.shape[0] if batched else 1, size))


def bias_or_zero(value: object, count: int, weights_dtype: np.dtype) -> np.ndarray:
    if value is None:
        return np.zeros(count, weights_dtype)
    return sized("bias", quantized("bias", value, weights_dtype), (count,), "(output channels,)")


class Output:
    """Where a kernel writes: the caller's `out` if that is safe, else a temporary that :meth:`finish` copies.

    A kernel may read any input after it wrote any output, hence an `out` that overlaps an input is never written
    directly; an element-wise kernel may work in place, on exactly the same elements.
    """

    def __init__(
        self, out: object, shape: tuple[int, ...], dtype: np.dtype, *inputs: np.ndarray, elementwise: bool = False
    ):
        self.out = out
        if out is not None:
            if not isinstance(out, np.ndarray):
                raise ShapeError(f"out: expected an array of shape {shape}, got {reprlib.repr(out)}")
            if out.shape != shape:
                raise ShapeError(f"out: expected shape {shape}, got {out.shape}")
            if out.dtype != dtype:
                raise DtypeError(f"out: expected dtype {dtype}, got {out.dtype}")
            if not out.flags.writeable:
                raise CmsisnnError("out: expected a writeable array, got a read-only one")
            if out.flags.carray and not any(
                np.may_share_memory(out, array) and not (elementwise and _same_memory(out, array)) for array in inputs
            ):
                self.array = np.asarray(out)
                return
        self.array = np.empty(shape, dtype)

    def finish(self) -> np.ndarray:
        if not isinstance(self.out, np.ndarray):
            return self.array
        if self.array is not self.out:
            self.out[...] = self.array
        return self.out


def _same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two contiguous arrays are the same elements."""
    return a.__array_interface__["data"][0] == b.__array_interface__["data"][0] and a.nbytes == b.nbytes


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(before, total) of TensorFlow's ``"same"`` along one axis.

    out = ceil(in / stride), total = max((out - 1) * stride + kernel - in, 0), the smaller half before the input.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total


def output_count(size: int, kernel: int, stride: int, before: int, total: int, ceil_mode: bool) -> int:
    """Windows along one axis, less than 1 where none fits: floor or ceil((in + total padding - kernel) / stride) + 1.

    Under `ceil_mode` a last window that would start at or beyond in + padding is dropped; windows are clipped at the
    far edge, also one that is larger than the padded input.
    """
    room = size + total - kernel
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= size + before else count


def largest_kernel(size: int, stride: int, total: int, ceil_mode: bool) -> int:
    """The largest kernel for which :func:`output_count` is at least 1."""
    return size + total + (stride - 1 if ceil_mode else 0)


def window_axis(
    size: int, kernel: int, stride: int, padding: int | str, ceil_mode: bool, count: int | None = None
) -> tuple[int, tuple[int, int]]:
    """Output size, which is `count` where that is given, and (before, after) padding of a layer along one axis, by the
    rule of the Python functions.

    Raises
    ------
    GeometryError
        A window would be empty.
    """
    if padding == "same":
        before, total = same_padding(size, kernel, stride)
    else:
        before = 0 if padding == "valid" else int(padding)
        total = 2 * before
    if before >= kernel:
        raise GeometryError(
            f"expected padding below the kernel size {kernel}, got {before}: the first window would lie outside the "
            f"input",
            "padding",
            "kernel",
        )
    if count is not None and (count - 1) * stride - before >= size:
        legal = (size - 1 + before) // stride + 1
        raise GeometryError(f"expected at most {legal} windows (the last would be empty), got {count}", "output_size")
    out = count or output_count(size, kernel, stride, before, total, ceil_mode)
    if out < 1:
        largest = largest_kernel(size, stride, total, ceil_mode)
        raise GeometryError(
            f"expected a kernel of at most {largest} (input {size} and padding 2 x {before}), got {kernel}",
            "padding",
            "kernel",
        )
    after = max((out - 1) * stride + kernel - size - before, 0)
    return out, (before, after)


def convolution_padding(
    padding: object, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding (top, left) and the total added per axis."""
    if isinstance(padding, str):
        if one_of("padding", padding, ("same", "valid")) == "valid":
            return (0, 0), (0, 0)
        (top, height), (left, width) = (same_padding(*axis) for axis in zip(size, kernel, stride, strict=True))
        return (top, left), (height, width)
    top, left = pair("padding", padding, 0)
    return (top, left), (2 * top, 2 * left)


def output_sides(
    channels: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    first: tuple[int, int],
    totals: tuple[int, int],
    ceil_mode: bool,
    output_size: object,
) -> tuple[int, int]:
    """:func:`output_count` of both axes; `output_size` overrides it."""
    if output_size is not None:
        return _bounded("output_size", *pair("output_size", output_size, 1), channels)
    sides = []
    for axis, n, k, s, p, total in zip("yx", size, kernel, stride, first, totals, strict=True):
        side = output_count(n, k, s, p, total, ceil_mode)
        if side < 1:
            largest = largest_kernel(n, s, total, ceil_mode)
            raise ShapeError(f"kernel: expected at most {largest} along {axis}, for the padded input, got {k}")
        sides.append(side)
    return _bounded("padding", sides[0], sides[1], channels)


def _bounded(name: str, height: int, width: int, channels: int) -> tuple[int, int]:
    if height * width * channels > TENSOR_BYTES_MAX:
        got = f"{height} x {width} x {channels}"
        raise ShapeError(f"{name}: expected an output of at most {TENSOR_BYTES_MAX} elements a sample, got {got}")
    return height, width


def windows(
    op: str,
    nhwc: np.ndarray,
    channels: int,
    kernel: tuple[int, int],
    stride: object,
    padding: object,
    ceil_mode: bool,
    output_size: object,
) -> Case:
    """An operation on images with its windows, and its output of `channels` channels."""
    size, step = nhwc.shape[1:3], pair("stride", stride, 1)
    first, totals = convolution_padding(padding, size, kernel, step)
    sides = output_sides(channels, size, kernel, step, first, totals, ceil_mode, output_size)
    return Case(op, scheme_type(nhwc), nhwc.shape[1:], 1, channels, kernel, step, first, sides)


def check_windows(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    first: tuple[int, int],
    out: tuple[int, int],
) -> None:
    """Refuse a pooling window that lies wholly outside the image: it has neither a maximum nor an average."""
    for axis, n, k, s, p, o in zip("yx", size, kernel, stride, first, out, strict=True):
        if p >= k:
            raise ShapeError(
                f"padding: expected less than the kernel, {k} along {axis} (a window would be empty), got {p}"
            )
        if (o - 1) * s - p >= n:
            legal = (n - 1 + p) // s + 1
            raise ShapeError(f"output_size: expected at most {legal} along {axis} (a window would be empty), got {o}")
