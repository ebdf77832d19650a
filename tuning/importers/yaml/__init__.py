# SPDX-License-Identifier: Apache-2.0
"""Model files with zero points as operators of `.tflite` files, and these as model files."""
