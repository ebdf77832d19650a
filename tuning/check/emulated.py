# SPDX-License-Identifier: Apache-2.0
"""The firmware of a plan on the samples of a check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmsisnn_x import Network

from ..plan import Plan
from .result import EmulatedCheck


def emulate(plan: Plan, network: Network, inputs: Sequence[np.ndarray], labels: np.ndarray | None) -> EmulatedCheck:
    """Emit, compile and run the firmware, each output held against the Python kernels'.

    `inputs` are the samples of each input, as the firmware takes them; `labels` are those of the first output.
    """
    from ..emulate import Emulator, prefer_toolchain
    from ..measure.firmware import written
    from ..measure.folder import compile_folder

    with written(plan) as firmware:
        machine = Emulator(compile_folder(firmware, prefer_toolchain(plan.compiler)), plan.target.core)
    made = network.run(inputs[0] if len(inputs) == 1 else tuple(inputs))
    wanted = made if isinstance(made, tuple) else (made,)
    got = [np.empty_like(values) for values in wanted]
    count = len(inputs[0])
    for sample in range(count):
        machine.free_buffers()
        sources = [machine.buffer(x[sample], writable=False) for x in inputs]
        results = [machine.buffer((~values[sample]).tobytes()) for values in wanted]
        machine.call(f"{plan.model}_run", (*sources, *results))
        for values, result in zip(got, results, strict=True):
            values[sample] = np.frombuffer(machine.read(result), values.dtype).reshape(values.shape[1:])
    equal = sum(
        all(np.array_equal(a[sample], b[sample]) for a, b in zip(got, wanted, strict=True)) for sample in range(count)
    )
    accuracies: list[float | None] = [None, None]
    if labels is not None:
        accuracies = [float((_answers(outputs) == labels).mean()) for outputs in (got[0], wanted[0])]
    return EmulatedCheck(count, equal, *accuracies)


def _answers(outputs: np.ndarray) -> np.ndarray:
    """The class of each sample: its largest output, the first if several are equal."""
    return outputs.reshape(len(outputs), -1).argmax(axis=1)
