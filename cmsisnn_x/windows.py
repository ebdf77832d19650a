# SPDX-License-Identifier: Apache-2.0
"""Rows of a layer's input by those of its output: which a call needs, and where they come row by row."""

from __future__ import annotations

from dataclasses import dataclass

from .layers import Layer

FEED = "feed"
"""What stands for the operation that makes the rows of an input: the caller does."""


@dataclass(frozen=True)
class Windows:
    """How rows of a layer's output depend on rows of its inputs: row y needs `kernel` rows from ``y * stride - above``
    on, of `height`, of which those outside are padding. With `as_they_come` it takes but the first `stride` of them,
    and the others when those rows are made that begin with them.
    """

    kernel: int
    stride: int
    above: int
    height: int
    output_height: int
    as_they_come: bool = False

    @classmethod
    def of(cls, layer: Layer) -> Windows:
        """Those of a layer over rows; see `in_rows`. One that adds rows up takes them one by one: a row of the input
        counts as one of its output.
        """
        if layer.op != FEED and layer.row.sums_rows(layer):
            return cls(1, 1, 0, layer.image[0], layer.image[0])
        kernel = (layer.kernel[0] - 1) * layer.dilation[0] + 1
        above = layer.padding[0][0]
        return cls(kernel, layer.stride[0], above, layer.image[0], layer.output_image[0])

    def top(self, row: int) -> int:
        """The first row that output row `row` needs, or would if it were not padding."""
        return row * self.stride - self.above

    def first(self, row: int) -> int:
        """The first row of the input that output row `row`, or a later one, needs."""
        return self.height if row >= self.output_height else max(self.top(row), 0)

    def end(self, row: int) -> int:
        """The row behind the last that output rows before `row` need, or take as they come."""
        last = self.top(row) if self.as_they_come and row < self.output_height else self.top(row - 1) + self.kernel
        return min(max(last, 0), self.height)

    def span(self, band: int) -> int:
        """Rows that a call on `band` output rows takes."""
        return band * self.stride if self.as_they_come else (band - 1) * self.stride + self.kernel

    def rows(self, end: int) -> int:
        """The most output rows that need nothing from row `end` on."""
        return next((row for row in range(self.output_height, 0, -1) if self.end(row) <= end), 0)

    @property
    def open_rows(self) -> int:
        """Rows of the output that lack rows of the input where they are taken as they come."""
        return -(-self.kernel // self.stride) - 1

    @property
    def takes_each_once(self) -> bool:
        """Whether, as they come, every call takes `stride` rows for each that it makes, no more for the last."""
        return self.above == 0 and self.height <= self.top(self.output_height)
