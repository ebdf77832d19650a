# SPDX-License-Identifier: Apache-2.0
"""What a network takes and gives: its border, as its file describes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Port:
    """An input or output of a network.

    Attributes
    ----------
    name : str
        In the file.
    tensor : str
        In the graph.
    shape : tuple of int
        As the file has it, with its batch dimension; but see `is_channels_last`.
    dtype : numpy.dtype
        int8, uint8 or int16.
    scale : float or None
        A real number is ``scale * (q - zero_point)``; None for q7 and q15 where the model file does not say `fraction`.
    zero_point : int
    is_channels_last : bool
        Whether `shape` has the channels last where the file has them first: an image of an ONNX file.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float | None = None
    zero_point: int = 0
    is_channels_last: bool = False
