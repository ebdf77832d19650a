# SPDX-License-Identifier: Apache-2.0
"""ONNX files: a file as nodes and constants, a float one in sequence as layers; quantised ones in `quantised`."""
