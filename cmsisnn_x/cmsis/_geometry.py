# SPDX-License-Identifier: Apache-2.0
"""The scalar arguments of convolutions and pooling functions as geometry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Numbers = Mapping[str, int]
"""The scalar arguments of a call, by Arm's names."""


class Axis(NamedTuple):
    """Geometry of a convolution along one axis."""

    name: str
    size: int
    kernel: int
    padding: int
    stride: int
    out: int

    @property
    def end(self) -> int:
        """The furthest coordinate that a window reads."""
        return self.stride * (self.out - 1) + self.kernel - 1 - self.padding

    def leaves_signed_char(self) -> bool:
        return self.padding > 128 or self.end > 127

    def is_empty(self) -> bool:
        return 0 in (self.size, self.kernel, self.stride, self.out)


class Geometry(NamedTuple):
    """Geometry of a convolution, square or not."""

    y: Axis
    x: Axis
    in_ch: int
    out_ch: int

    @classmethod
    def of(cls, n: Numbers) -> Geometry:
        names = ("dim_im_in", "dim_kernel", "padding", "stride", "dim_im_out")
        suffixes = ("", "") if "dim_im_in" in n else ("_y", "_x")
        y, x = (Axis(axis, *(n[name + suffix] for name in names)) for axis, suffix in zip("yx", suffixes, strict=True))
        return cls(y, x, n["ch_im_in"], n["ch_im_out"])

    def leaves_signed_char(self) -> bool:
        return self.y.leaves_signed_char() or self.x.leaves_signed_char()


class Pool(NamedTuple):
    """The scalar arguments of a pooling function in Arm's order."""

    size: int
    channels: int
    kernel: int
    padding: int
    stride: int
    out: int

    @classmethod
    def of(cls, n: Numbers) -> Pool:
        return cls(*(n[name] for name in ("dim_im_in", "ch_im_in", "dim_kernel", "padding", "stride", "dim_im_out")))

    @property
    def last(self) -> int:
        """Where the last window begins."""
        return (self.out - 1) * self.stride - self.padding

    def has_empty_window(self) -> bool:
        return self.out > 0 and (self.kernel <= self.padding or self.last >= self.size)

    def has_zero(self) -> bool:
        return 0 in (self.size, self.channels, self.kernel, self.stride, self.out)
