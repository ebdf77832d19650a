# SPDX-License-Identifier: Apache-2.0
"""Model files: YAML and weights to a checked network of :class:`cmsisnn_x.layers.Layer`."""

from .file import Model, build_model, find_model, graph_model, list_models, read_document, read_model, with_layers
from .ports import Port

__all__ = [
    "Model",
    "Port",
    "build_model",
    "find_model",
    "graph_model",
    "list_models",
    "read_document",
    "read_model",
    "with_layers",
]
