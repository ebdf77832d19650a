# SPDX-License-Identifier: Apache-2.0
"""The float network beside one with zero points: what its integers approximate, tensor by tensor; and its file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cmsisnn_x.layers import Layer

from ...base.errors import ModelError
from ...importers.float_network import FloatNetwork, from_layers
from .. import forward
from ..data import LAYOUTS, channels_last, declared_of

if TYPE_CHECKING:
    pass

_KINDS = ("weights", "bias", "clip")


@dataclass(frozen=True, eq=False)
class Twin:
    """A float network with its shapes.

    Attributes
    ----------
    network : FloatNetwork
    layers : tuple of Layer
        Their geometry.
    arrays : mapping
        ``<layer>/weights``, ``<layer>/bias`` and ``<layer>/clip`` in float32.
    """

    network: FloatNetwork
    layers: tuple[Layer, ...]
    arrays: Mapping[str, np.ndarray]

    def channels_last(self, x: np.ndarray, name: str = "data") -> np.ndarray:
        """Samples as the float model takes them -> ``(n, *input_shape)``, channels last."""
        network = self.network
        return channels_last(x, network.input_shape, network.input_layout, name, network.declared_shape)

    def tensors(self, x: np.ndarray) -> Iterator[tuple[Layer, np.ndarray]]:
        """Every layer with its float output, for samples that are channels last."""
        return forward.run(self.layers, self.arrays, x, self.network.softmax_base)

    def output(self, x: np.ndarray) -> np.ndarray:
        """The float output for samples that are channels last."""
        *_, (_, out) = self.tensors(x)
        return out

    def stored(self) -> dict[str, np.ndarray]:
        """What ``<name>_float.npz`` holds."""
        network = self.network
        rows = [{"name": layer.name, "op": layer.op, **layer.keys} for layer in network.layers]
        return {
            **self.arrays,
            "layers": np.array(json.dumps(rows, default=lambda value: value.item())),
            "input_shape": np.array(network.input_shape, np.int64),
            "input_layout": np.array(network.input_layout),
            "output_layout": np.array(network.output_layout),
            "softmax_base": np.array(network.softmax_base),
        } | ({} if (shape := network.declared_shape) is None else {"declared_shape": np.array(shape, np.int64)})


def twin_of(content: Mapping[str, np.ndarray]) -> Twin:
    """A twin from what its archive holds."""
    rows: list[dict[str, Any]] = json.loads(str(content["layers"]))
    for row in rows:
        row |= {kind: content[key] for kind in _KINDS if (key := f"{row['name']}/{kind}") in content}
        if "clip" in row:
            row["clip"] = float(row["clip"])
    found = from_layers(rows, tuple(int(size) for size in content["input_shape"].reshape(-1)), "network")
    layouts = [str(content[f"{side}_layout"]) for side in ("input", "output")]
    base = float(content["softmax_base"])
    if not set(layouts) <= set(LAYOUTS) or not 1 < base < 10:
        raise ModelError(f"expected a layout of {', '.join(LAYOUTS)} and a base of the softmax, got {layouts}, {base}")
    network = replace(
        found, input_layout=layouts[0], output_layout=layouts[1], softmax_base=base, declared_shape=declared_of(content)
    )
    return Twin(network, network.geometry("q7"), network.arrays())
