# SPDX-License-Identifier: Apache-2.0
"""Quantised ONNX networks as operators of `.tflite` files: translators, a module per kind, and what they share."""
