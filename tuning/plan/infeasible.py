# SPDX-License-Identifier: Apache-2.0
"""Why nothing fits the budgets, in words: by how much, which layer decides, what would fit, what to try."""

from __future__ import annotations

import numpy as np

from cmsisnn_x.layers import Layer

from ..base.errors import InfeasibleError
from ..base.units import show_size
from .problem import Choice, Problem


def infeasible(
    problem: Problem, sram: int | None, flash: int | None, least: Choice | None = None
) -> InfeasibleError:
    """Explain why nothing fits. `least` is the smallest firmware that was compiled; default: by estimates."""
    floor = problem.smallest_sram()
    if sram is not None and floor > sram:
        worst = max(range(len(problem.sram)), key=lambda i: int(problem.sram[i].min()))
        layer = problem.options[worst].layer
        scratch = int(problem.options[worst].scratch_bytes[int(problem.sram[worst].argmin())])
        tensors = floor - scratch - problem.caller_bytes
        smallest = {"sram": floor}
        too = ""
        if flash is not None and (least := problem.smallest(floor)) is not None and least.flash_bytes > flash:
            smallest["flash"] = least.flash_bytes
            too = f" It needs --flash {least.flash_bytes} ({show_size(least.flash_bytes)}) too, with that."
        return InfeasibleError(
            f"does not fit into {show_size(sram)} of SRAM: over by {floor - sram:,} bytes. Layer {layer.name!r} "
            f"decides: "
            f"{max(tensors, 0):,} bytes of tensors in the arena, at least {scratch:,} bytes of scratch, and "
            f"{problem.caller_bytes:,} bytes of the "
            f"network's own input{', output and states' if problem.graph.states else ' and output'}.\n"
            f"The smallest budget that works is --sram {floor} ({show_size(floor)}).{too}\n"
            f"Try: --sram {floor}; fewer channels or a smaller image at {layer.name!r}; "
            + ("removing the pins of its variant" if layer.variant else "pooling, or a stride of 2, before it"),
            smallest,
        )
    works = "The smallest budget that works is" if least is None else "What was compiled fits into"
    least = least or problem.smallest(sram)
    assert flash is not None
    assert least is not None
    rows = [least.rows[at] for at in problem.first]
    sizes = [int(item.weights_bytes[row]) for item, row in zip(problem.options, rows, strict=True)]
    worst = int(np.argmax(sizes))
    layer = problem.options[worst].layer
    free = problem.smallest(None)
    assert free is not None
    without, third = "", _lighter_weights(layer)
    if sram is not None and free.flash_bytes < least.flash_bytes:
        level = next(
            level
            for level in problem.levels()
            if (found := problem.smallest(level)) is not None and found.flash_bytes <= max(flash, free.flash_bytes)
        )
        third = f"--sram {level}, under which smaller kernels are legal"
        if free.flash_bytes <= flash:
            without = f" (without the SRAM budget {free.flash_bytes:,} bytes would do)"
    return InfeasibleError(
        f"does not fit into {show_size(flash)} of flash: over by {least.flash_bytes - flash:,} "
        f"bytes{without}. Layer {layer.name!r} decides: its "
        f"weights take {sizes[worst]:,} of at least {least.flash_bytes:,} bytes.\n"
        f"{works} --flash {least.flash_bytes} ({show_size(least.flash_bytes)}).\n"
        f"Try: --flash {least.flash_bytes}; fewer outputs or inputs at {layer.name!r}; {third}",
        {"flash": least.flash_bytes},
    )


def _lighter_weights(layer: Layer) -> str:
    """What makes the weights of a layer smaller, its channels apart."""
    if layer.variant:
        return "removing the pins of its variant"
    if layer.weights_dtype == "q15":
        return "q7 instead of q15, which halves them"
    if layer.op == "fully_connected":
        return "pooling before it, which shrinks its input"
    if layer.op == "conv2d" and max(layer.kernel) > 1:
        return "a smaller kernel there, or depthwise_conv2d and a 1x1 conv2d instead"
    return "fewer layers: the rest is code, which every kind of layer brings"
