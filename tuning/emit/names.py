# SPDX-License-Identifier: Apache-2.0
"""What things are called in the emitted folder, for those who write it and those who call it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Names:
    """Names of static objects that stay clear of the external ones, whatever the layers are called.

    Examples
    --------
    >>> names = Names(["net_conv1", "net_conv1_weights"])
    >>> names.new("net_conv1_weights"), names.new("net_conv1_bias")
    ('net_conv1_weights_', 'net_conv1_bias')
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)

    def new(self, name: str) -> str:
        # Kernels derive further names from theirs by appending _something.
        while any(other == name or other.startswith(f"{name}_") for other in self.taken):
            name += "_"
        self.taken.add(name)
        return name


def run_function(model: str) -> str:
    """The function that runs the network."""
    return f"{model}_run"


def layer_function(model: str, layer: str) -> str:
    """The function that runs one layer."""
    return f"{model}_{layer}"


def pair_functions(model: str, layers: Sequence[str], first: Iterable[int]) -> dict[int, str]:
    """The functions that run a layer and the one behind it as one, by the index of the first.

    Their names end like those of layers, but are none of them.

    Examples
    --------
    >>> pair_functions("net", ["a", "b", "a_b"], [0])
    {0: 'net_a_b_'}
    """
    taken = {run_function(model), *(layer_function(model, name) for name in layers)}
    found: dict[int, str] = {}
    for index in first:
        name = layer_function(model, f"{layers[index]}_{layers[index + 1]}")
        while name in taken:
            name += "_"
        taken.add(name)
        found[index] = name
    return found


def archive_name(model: str) -> str:
    """The file that holds the model's own weights."""
    return f"{model}_weights.npz"
