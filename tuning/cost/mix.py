# SPDX-License-Identifier: Apache-2.0
"""What one run of each part costs, from its instruction mix and a target's timing: the prior where nothing was
fitted.
"""

from __future__ import annotations

from collections.abc import Mapping

from cmsisnn_x._variants import Variant
from cmsisnn_x.layers import Layer

from .features import BLOCKED, ELEMENTWISE, WINDOWED, parts_of

REGISTERS = 12
"""Core registers that an inner loop can hold values in: r0-r12 and lr, less the stack's and one for an address."""


def price(layer: Layer, variant: Variant | None, dsp: bool, timing: Mapping[str, float]) -> list[float]:
    """Cycles of one run of each part of `features.parts_of(layer.op)`, in that order."""
    width = timing["issue_width"]
    issue = {name: timing[name] / width for name in ("alu", "store", "load_next")}
    alu, store, load = issue["alu"], issue["store"], issue["load_next"]
    branch = (timing["branch"] + timing["branch_taken"]) / width
    mac = (
        timing["multiply_accumulate"] if dsp else min(timing["multiply_accumulate"], timing["multiply"] + timing["alu"])
    )
    first_load = timing["load"] / width - load
    parts = parts_of(layer.op)
    if parts is ELEMENTWISE:
        per_element = {"relu": 2 * alu, "softmax": 6 * alu + 2 * load}.get(layer.op, 3 * alu + 2 * load) + load + store
        costs = {
            "elements": 4 / layer.numpy_dtype.itemsize * per_element + branch,
            "rest": per_element + branch,
            "calls": 20 * alu + branch,
        }
        return [costs[name] for name in ELEMENTWISE]
    if parts is WINDOWED:
        compare = (2 if layer.op == "max_pool2d" else 4) * alu
        costs = {
            "taps": compare + load + alu + branch,
            "columns": compare + load,
            "outputs": store + 4 * alu + branch,
            "strips": 12 * alu + branch,
            "windows": 16 * alu + branch,
            "rows": 10 * alu + branch,
            "calls": 20 * alu,
        }
        return [costs[name] for name in WINDOWED]

    assert variant is not None
    rows, cols = variant.block_rows, variant.block_cols
    narrow = (layer.weights_dtype or layer.dtype) == "q7"
    plain = variant.weight_layout == "plain" and variant.lowering != "winograd"

    def block(r: int, c: int) -> tuple[float, float, float]:
        """One pass, one single element, and one block begun and finished."""
        spills = max(r * c + r + c - REGISTERS, 0) * 2 * load if variant.inner == "c" else 0.0
        single = r * c * mac + (r + c) * load + first_load + spills / 2
        if layer.op == "depthwise_conv2d" or not dsp:
            step = 1 if layer.op == "depthwise_conv2d" else 2
            body = step * single
        elif plain and narrow:
            body = 2 * r * c * mac + r * (load + 4 * alu) + 2 * c * load + 2 * first_load + spills
        else:
            widen = r * alu if narrow and variant.weight_layout == "interleaved" else 0.0
            words = r / 2 if narrow and variant.weight_layout == "interleaved" else r
            body = r * c * mac + words * load + widen + c * load + first_load + spills
        finish = r * c * (3 * alu + store) * variant.tile * 2 + r * (load + 2 * alu) + 10 * alu + branch
        return body, single, finish

    body, single, finish = block(rows, cols)
    left_body, left_single, left_finish = block(1 if plain else 2, cols)
    costs = {
        "widened": load + 4 * alu + 2 * store
        if variant.lowering != "winograd"
        else (4 * variant.tile + 24) * (load + 2 * alu + store),
        "ragged": load + alu + store + branch,
        "zeroed": store / 2,
        "segments": 14 * alu + branch,
        "clipped": 20 * alu + 2 * branch,
        "transformed": 4 * alu + load + store,
        "steps": body,
        "tail": single,
        "left_steps": left_body,
        "left_tail": left_single,
        "blocks": finish,
        "left_blocks": left_finish,
        "turns": 2 * alu + branch,
        "runs": 4 * alu,
        "groups": 6 * alu + branch,
        "pixels": 16 * alu + branch,
        "rows": 16 * alu + branch,
        "calls": 30 * alu,
    }
    return [costs[name] for name in BLOCKED]
