# SPDX-License-Identifier: Apache-2.0
"""What things are called in the emitted folder, for those who write it and those who call it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cmsisnn_x.steps import Step

RESET = "reset"
"""What no layer of a network with states may be called."""


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


def numbered(word: str, count: int) -> list[str]:
    """Names for `count` things: the word alone for one.

    Examples
    --------
    >>> numbered("input", 1), numbered("input", 2)
    (['input'], ['input_0', 'input_1'])
    """
    return [word] if count == 1 else [f"{word}_{at}" for at in range(count)]


def run_function(model: str) -> str:
    """The function that runs the network."""
    return f"{model}_run"


def reset_function(model: str) -> str:
    """The function that forgets what the network remembers between runs."""
    return f"{model}_{RESET}"


def feed_functions(model: str, inputs: int, outputs: int) -> list[str]:
    """The functions that begin a run, take rows of each input, of several say how many were taken, and say where each
    output lies.
    """
    taken = numbered("taken", inputs) if inputs > 1 else []
    return [f"{model}_{word}" for word in ("start", *numbered("feed", inputs), *taken, *numbered("output", outputs))]


def layer_function(model: str, layer: str) -> str:
    """The function that runs one layer."""
    return f"{model}_{layer}"


def step_functions(model: str, steps: Sequence[Step]) -> dict[str, str]:
    """The function that runs each step, by the step's name: a layer's own, or one that runs several layers as one.

    The latter's names end like those of layers, but are none of them.

    Examples
    --------
    >>> from cmsisnn_x.layers import Layer
    >>> a, b, a_b = (Layer(name, "relu", "q7", (4,), (4,)) for name in ("a", "b", "a_b"))
    >>> step_functions("net", [Step((a, b)), Step((a_b,))])
    {'a': 'net_a_b_', 'a_b': 'net_a_b'}
    """
    taken = {run_function(model), *(layer_function(model, layer.name) for step in steps for layer in step.layers)}
    found: dict[str, str] = {}
    for step in steps:
        names = [layer.name for layer in step.layers]
        name = layer_function(model, "_to_".join((names[0], names[-1])) if step.chain else "_".join(names))
        while len(step.layers) > 1 and name in taken:
            name += "_"
        taken.add(name)
        found[step.name] = name
    return found


def archive_name(model: str) -> str:
    """The file that holds the model's own weights."""
    return f"{model}_weights.npz"


def source_name(model: str) -> str:
    """The copy of the ``.tflite`` file that the network came from."""
    return f"{model}.tflite"
