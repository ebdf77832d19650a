# SPDX-License-Identifier: Apache-2.0
"""A float network with zero points, int8 or 16x8: a scale for every tensor, operators of `.tflite` files, and files."""
