# SPDX-License-Identifier: Apache-2.0
"""CMSIS-NN's q7/q15 kernels for Python, bit for bit."""

from ._variants import BASELINE, Variant, variants

__all__ = ["BASELINE", "Variant", "variants"]
__version__ = "0.1.0"
