# SPDX-License-Identifier: Apache-2.0
"""Element by element, of two tensors: the row of the product. Networks, chains as they are, cannot have it yet."""

from __future__ import annotations

from ..op import Op
from ._shared import ALIKE, same_shape

MULTIPLY = Op("multiply", "multiply", roles=("a", "b"), types=ALIKE, infer=same_shape, in_place=(0, 1))
