# SPDX-License-Identifier: Apache-2.0
"""Mean over axes: its row. It requantises, which average pooling does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..layers import Layer
from ..op import Op
from ..variant import Variant
from ._shared import AFFINE_ALIKE, same_shape


def _append(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    """The input is ``(outer, reduced, inner)``, the output ``(outer, 1, inner)``."""
    executor.mean(layer.numpy_dtype, layer.input_shape, layer.scheme, layer.samples)


def _is_whole(layer: Layer) -> bool:
    return layer.output_image[0] == 1


def _least_rows(layer: Layer, variant: Variant | None) -> int | None:
    return 1 if _is_whole(layer) else None


MEAN = Op(
    "mean", "mean", roles=("x",), types=AFFINE_ALIKE, infer=same_shape, least_rows=_least_rows, sums_rows=_is_whole,
    append=_append,
)  # fmt: skip
