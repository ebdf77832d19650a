# SPDX-License-Identifier: Apache-2.0
"""The readable path: Cython kernels in which every host knob of a variant is a piece of code."""
