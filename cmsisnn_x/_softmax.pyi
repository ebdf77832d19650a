# SPDX-License-Identifier: Apache-2.0
from numpy.typing import NDArray

def softmax(x: NDArray, out: NDArray) -> None: ...
