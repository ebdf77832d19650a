# SPDX-License-Identifier: Apache-2.0
"""The version of the package, apart so that everything may ask for it."""

__version__ = "0.2.0"
