# SPDX-License-Identifier: Apache-2.0
"""Model files: YAML and weights to a checked network of :class:`cmsisnn_x.layers.Layer`."""

from .file import Model, build_model, find_model, list_models, load_model, with_layers

__all__ = [
    "Model",
    "build_model",
    "find_model",
    "list_models",
    "load_model",
    "with_layers",
]
