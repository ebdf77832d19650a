# SPDX-License-Identifier: Apache-2.0
"""Any float ONNX graph with zero points: read and rewritten, given scales, and made a quantised ONNX network."""
