# SPDX-License-Identifier: Apache-2.0
"""What one run of each part costs, from its instruction mix and a target's timing: the prior of every fit, and the
answer where nothing was fitted.
"""

from __future__ import annotations

from collections.abc import Mapping

from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

from .features import as_compiled, lane_groups, parts_of

REGISTERS = 12
"""Core registers that an inner loop can hold values in: r0-r12 and lr, less the stack's and one for an address."""
ALWAYS_POSITIVE = 0.25
"""Cycles that the cheapest part costs, so that every price is positive."""


def price(
    layer: Layer, variant: Variant | None, dsp: bool, timing: Mapping[str, float], unaligned: bool = True
) -> list[float]:
    """Cycles of one run of each part of `features.parts_of(layer.op)`, in that order."""
    variant = as_compiled(layer, variant)
    width = timing["issue_width"]
    alu, store, load = (timing[name] / width for name in ("alu", "store", "load_next"))
    branch = (timing["branch"] + timing["branch_taken"]) / width
    mac = (
        timing["multiply_accumulate"] if dsp else min(timing["multiply_accumulate"], timing["multiply"] + timing["alu"])
    )
    first_load = timing["load"] / width - load
    call = 8 * alu + 2 * branch
    costs = {"calls": 30 * alu, "rows": 12 * alu + branch}
    if layer.op in ("max_pool2d", "avg_pool2d"):
        words = lane_groups(layer, unaligned) < layer.image[2]
        if layer.op == "avg_pool2d":
            compare = (1 if not words else 2 if dsp else 5) * alu
        else:
            compare = (9 if words and not dsp else 2) * alu
        costs |= {
            "elements": load + compare,
            "columns": first_load + alu,
            "joins": compare / 2,
            "taps": load + first_load + compare + alu + branch / 2,
            "outputs": store + 2 * alu + branch,
            "edges": 2 * alu,
            "windows": store + 6 * alu + branch,
            "averages": (5 if layer.dtype == "q7" else 8) * alu,
            "lines": 4 * alu + branch,
            "turns": 2 * alu + branch,
            "strips": 12 * alu + branch,
            "singles": 16 * alu + branch,
            "clipped": 10 * alu,
        }
    elif variant is None:
        one = {"softmax": 16 * alu + 2 * load, "relu": 2 * alu}.get(layer.op, 3 * alu + load) + load + store
        costs |= {"elements": one, "rest": one + branch, "turns": 2 * alu + branch}
    else:
        rows, cols, tile = variant.block_rows, variant.block_cols, variant.tile
        narrow = (layer.weights_dtype or layer.dtype) == "q7"
        plain = variant.weight_layout == "plain" and variant.lowering != "winograd"
        dense, depthwise = layer.op == "fully_connected", layer.op == "depthwise_conv2d"

        def step(r: int, c: int) -> tuple[float, float, float]:
            """One pass, one single element, and one block begun and finished."""
            spills = max(r * c + r + c - REGISTERS, 0) * 2 * load if variant.inner == "c" else 0.0
            single = r * c * mac + (r + c) * load + first_load + spills / 2
            if depthwise or not dsp:
                body = (1 if depthwise else 2) * single
            elif plain and narrow:
                body = 2 * r * c * mac + r * (load + 4 * alu) + 2 * c * load + 2 * first_load + spills
            else:
                widen = r * alu if narrow and variant.weight_layout == "interleaved" else 0.0
                words = r / 2 if narrow and variant.weight_layout == "interleaved" else r
                body = r * c * mac + words * load + widen + c * load + first_load + spills
            return body, single, r * c * 2 * alu + r * (load + 2 * alu) + 8 * alu + branch

        left = 1 if plain else 2
        body, single, finish = step(rows, 1 if dense else cols)
        left_body, left_single, left_finish = step(left, cols)
        per_tile = 4 * variant.tile + 24
        turn = 2 * alu + branch
        costs |= {
            "words": per_tile * (load + 2 * alu + store) if tile > 1 else load + 4 * alu + 2 * store,
            "ragged": per_tile / 2 * (load + alu + store) if tile > 1 else load + alu + store + branch / 2,
            "zero_lines": 4 * store + 2 * alu + branch,
            "zero_bytes": store / 2 + branch / 4,
            "segments": 12 * alu + branch,
            "cuts": 10 * alu + 2 * call,
            "outside": call,
            "pixels": 16 * alu + branch,
            "copy_turns": 2 * alu + branch,
            "transformed": per_tile * (load + 2 * alu + store),
            "packs": 12 * alu + branch,
            "steps": body,
            "singles": single,
            "straight_steps": body,
            "left_steps": left_body,
            "left_straight_steps": left_body,
            "left_singles": left_single,
            "blocks": finish,
            "left_blocks": left_finish,
            "stores": (2 * alu + store) if tile == 1 else tile * (6 * alu + store) / tile + 2 * alu,
            "turns": turn,
            "left_turns": turn,
            "loops": 3 * alu + branch,
            "runs": 4 * alu,
            "fills": 8 * alu + branch,
            "partial": 4 * alu + branch,
            "flushes": 2 * alu + branch,
            "groups": 6 * alu + branch,
        }
        costs["inside_ragged"] = costs["ragged"]
        costs["cut_words"], costs["cut_ragged"] = costs["words"] + branch / 2, costs["ragged"] + branch / 2
        if tile > 1:
            costs["blocks"] += (tile + cols) * rows * cols * (alu + load)
            costs["cuts"] = 10 * alu
            costs["runs"] += rows * cols * (alu + store)
        if depthwise:
            pair = mac
            costs["channels"] = 12 * alu + branch
            costs["taps"] = load + alu
            costs["reloads"] = load
            if variant.lowering == "line_buffer" and dsp:
                costs |= {
                    "words": 2 * load + 6 * alu + 4 * store + branch,
                    "ragged": 2 * load + alu + store + branch,
                    "loads": load,
                    "left_loads": load,
                    "steps": pair,
                    "left_steps": pair,
                    "blocks": 4 * alu,
                    "left_blocks": 4 * alu,
                }
            else:
                costs |= {"loads": load, "left_loads": load}
        if dense:
            four, two, one = (step(n, 1)[0] * (2 if dsp and not plain else 1) for n in (rows, 2, 1))
            if dsp and (variant.weight_layout != "plain"):
                four, two = four + 2 * alu, two + 2 * alu
            costs |= {
                "words": 2 * load + 2 * alu + 2 * store,
                "ragged": load + store + branch,
                "excess": load + 2 * alu + branch / 4,
                "steps": four,
                "pair_steps": two,
                "last_steps": one,
                "singles": 2 * load + mac + 2 * alu,
                "blocks": rows * (6 * alu + load + store) + 10 * alu + branch,
                "pair_blocks": 2 * (6 * alu + load + store) + 10 * alu + branch,
                "last_blocks": 6 * alu + load + store + 10 * alu + branch,
                "pair_turns": turn,
                "last_turns": turn,
                "rest": 2 * alu + branch,
                "cuts": 4 * rows * alu + branch,
            }
    return [max(costs[name], ALWAYS_POSITIVE) for name in parts_of(layer.op)]
