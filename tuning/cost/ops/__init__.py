# SPDX-License-Identifier: Apache-2.0
"""How often each part of a kernel runs, an operation per module: loop bounds, no cycles."""
