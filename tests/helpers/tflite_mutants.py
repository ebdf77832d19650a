# SPDX-License-Identifier: Apache-2.0
"""Files that mean something else than they should: cases with a few numbers, types, operands or options changed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from helpers.int8_graph import Host, Interpreter, assert_same_bytes, random_inputs
from helpers.tflite_cases import Case
from helpers.tflite_cases_elements import ELEMENTS
from helpers.tflite_cases_layers import LAYERS
from helpers.tflite_cases_moves import MOVES
from helpers.tflite_cases_networks import NETWORKS
from helpers.tflite_files import O, T
from tuning.importers.tflite.reader import Imported
from tuning.model.rewrites import rewritten

CASES: Mapping[str, Case] = {**LAYERS, **ELEMENTS, **MOVES, **NETWORKS}
NUMBERS = (-(2**31), -65536, -129, -128, -7, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7, 8, 127, 128, 65535, 65536, 2**31 - 1)
SCALES = (0.0, -1.0, 1e-45, 1e-38, 1e-20, 1e-6, 2.0**-15, 2.0**-8, 2.0**-7, 0.05, 0.5, 1.0, 8.0, 1e6, 1e20, 3e38,
          float("inf"), float("nan"))  # fmt: skip
TYPES = ("INT8", "UINT8", "INT16", "INT32", "INT64", "FLOAT32", "BOOL", "STRING")
CODES = sorted({str(op.code) for case in CASES.values() for op in case.ops})
LARGEST = 20_000
"""Elements of a tensor, of graphs that are run."""


def mutant(rng: random.Random, case: Case) -> Case:
    """One to three edits."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        if rng.random() < 0.6:
            at = rng.randrange(len(case.tensors))
            tensors = list(case.tensors)
            tensors[at] = _tensor(rng, tensors[at])
            case = replace(case, tensors=tensors)
        elif rng.random() < 0.9:
            at = rng.randrange(len(case.ops))
            ops = list(case.ops)
            ops[at] = _operator(rng, ops[at], len(case.tensors))
            case = replace(case, ops=ops)
        else:
            names = [tensor.name for tensor in case.tensors]
            case = replace(case, **{rng.choice(("inputs", "outputs")): rng.choices(names, k=rng.randrange(4))})
    return case


def _tensor(rng: random.Random, tensor: T) -> T:
    kind = rng.randrange(6)
    if kind == 0:
        return replace(tensor, scale=rng.choice(SCALES))
    if kind == 1:
        return replace(tensor, zero_point=rng.choice(NUMBERS))
    if kind == 2:
        return replace(tensor, dtype=rng.choice(TYPES))
    data = tensor.data if isinstance(tensor.data, np.ndarray) else None
    if data is not None and kind == 3:
        changed = data.copy().reshape(-1)
        if changed.size:
            info = np.iinfo(changed.dtype)
            changed[rng.randrange(changed.size)] = min(max(rng.choice(NUMBERS), info.min), info.max)
        return replace(tensor, data=changed.reshape(data.shape))
    shape = [*(tensor.shape if tensor.shape is not None else np.shape(data) if data is not None else ())]
    edit = rng.randrange(4)
    if edit == 0 and shape:
        shape[rng.randrange(len(shape))] = rng.choice(NUMBERS)
    elif edit == 1:
        shape.insert(rng.randrange(len(shape) + 1), rng.choice((1, 1, 2)))
    elif edit == 2 and shape:
        del shape[rng.randrange(len(shape))]
    else:
        rng.shuffle(shape)
    if data is not None and rng.random() < 0.7:
        if all(0 <= size <= 16 for size in shape):
            return replace(tensor, data=np.resize(data, shape).astype(data.dtype), shape=shape)
        return tensor
    return replace(tensor, shape=shape)


def _operator(rng: random.Random, op: O, count: int) -> O:
    kind = rng.randrange(6)
    options: dict[str, Any] = dict(op.options or {})
    if kind <= 1 and options:
        key = rng.choice(sorted(options))
        old = options[key]
        if isinstance(old, bool):
            options[key] = not old
        elif key in ("padding", "fused_activation_function"):
            options[key] = rng.randrange(2)
        elif isinstance(old, int):
            options[key] = rng.choice(NUMBERS)
        elif isinstance(old, float):
            options[key] = rng.choice(SCALES)
        return replace(op, options=options)
    if kind == 2:
        return replace(op, code=rng.choice(CODES), options={k: v for k, v in options.items() if k == "-"})
    side = rng.choice(("inputs", "inputs", "outputs"))
    places: list[Any] = list(getattr(op, side))
    if kind == 3 and places:
        places[rng.randrange(len(places))] = rng.randrange(count) if side == "outputs" or rng.random() < 0.8 else None
    elif kind == 4 and places:
        del places[rng.randrange(len(places))]
    elif kind == 5:
        places.insert(rng.randrange(len(places) + 1), rng.randrange(count))
    return replace(op, **{side: places})


def run_all(found: Imported, seed: int) -> bool:
    """What was imported runs, on the host as in the oracle's arithmetic, and rewriting changes no byte; False if it is
    too large to be run.
    """
    graph = found.graph
    if len(graph.nodes) > 300 or max(int(np.prod(t.shape, dtype=float)) for t in graph.tensors.values()) > LARGEST:
        return False
    if sum(float(node.layer.macs) + float(np.prod(node.layer.kernel)) for node in graph.nodes) > 3e6:
        return False
    rng = np.random.default_rng(seed)
    after, _ = rewritten(graph)
    assert_same_bytes(graph, after, rng, runs=2)
    for own in (graph, after):
        oracle, host = Interpreter(own), Host(own)
        for _ in range(2):
            xs = random_inputs(own, rng)
            for one, other in zip(oracle.run(*xs), host.run(*xs), strict=True):
                np.testing.assert_array_equal(one, other, strict=True)
    return True
