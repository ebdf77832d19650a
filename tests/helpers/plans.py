# SPDX-License-Identifier: Apache-2.0
"""Networks and plans made by hand, without model file, search or cost model."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cmsisnn_x.arena import plan_arena
from cmsisnn_x.isa import Isa
from cmsisnn_x.layers import NUMPY_DTYPES, Layer
from cmsisnn_x.steps import Step
from cmsisnn_x.variant import Variant
from tuning.plan import LayerPlan, Plan
from tuning.target import Target
from tuning.target.cores import CORES

WINDOWED = ("conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d")


def chain(input_shape: tuple[int, ...], dtype: str, *specs: Mapping[str, object]) -> tuple[Layer, ...]:
    """A sequential network whose layers are named by their position; weights are somebody else's: drawn, full range.

    A spec holds `op` and what the operation needs: `out` (channels or features), `kernel`, `stride`, `pad` (number or
    ``"same"``), `bias_shift`, `out_shift`, `activation`, `int_bits`, `weights_dtype`, `name`.
    """
    layers: list[Layer] = []
    shape = input_shape
    for number, spec in enumerate(specs):
        layers.append(_layer(f"{spec['op']}{number}", dtype, shape, dict(spec)))
        shape = layers[-1].output_shape
    return tuple(layers)


def _layer(name: str, dtype: str, shape: tuple[int, ...], spec: dict) -> Layer:
    op = spec.pop("op")
    name = spec.pop("name", name)
    out = spec.pop("out", None)
    pad = spec.pop("pad", 0)
    output_shape: tuple[int, ...] = shape
    if op in WINDOWED:
        kernel, stride = _pair(spec.pop("kernel")), _pair(spec.pop("stride", 1))
        axes = [_axis(shape[i], kernel[i], stride[i], pad) for i in (0, 1)]
        output_shape = (axes[0][0], axes[1][0], out or shape[2])
        spec |= {"kernel": kernel, "stride": stride, "padding": (axes[0][1], axes[1][1])}
    elif op == "fully_connected":
        output_shape = (out,)
    arrays = {
        "conv2d": lambda: ((out, *spec["kernel"], shape[2]), (out,)),
        "depthwise_conv2d": lambda: ((*spec["kernel"], shape[2]), (shape[2],)),
        "fully_connected": lambda: ((out, prod(shape)), (out,)),
    }
    if op in arrays:
        spec.setdefault("weights_dtype", dtype)
        rng = np.random.default_rng(zlib.crc32(f"{name}{shape}".encode()))
        kind = NUMPY_DTYPES[spec["weights_dtype"]]
        info = np.iinfo(kind)
        spec["weights"], spec["bias"] = (
            rng.integers(info.min, info.max, size, kind, endpoint=True) for size in arrays[op]()
        )
    return Layer(name=name, op=op, dtype=dtype, input_shape=shape, output_shape=output_shape, **spec)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _axis(size: int, kernel: int, stride: int, pad: int | str) -> tuple[int, tuple[int, int]]:
    if pad == "same":
        out = -(-size // stride)
        total = max((out - 1) * stride + kernel - size, 0)
        return out, (total // 2, total - total // 2)
    out = (size + 2 * pad - kernel) // stride + 1
    return out, (pad, max((out - 1) * stride + kernel - size - pad, 0))


def make_plan(
    name: str,
    layers: Sequence[Layer],
    *,
    core: str = "cortex-m4",
    variant: Variant | Mapping[str, Variant] | None = None,
    cflags: tuple[str, ...] = ("-O3",),
) -> Plan:
    """A plan of `layers` with one variant for all of them or one for each name; figures are invented.

    A convolution whose variant has `fused_pool` takes in the layer behind it.
    """
    layers = tuple(layers)
    target = Target(name=core, core=core, dsp=CORES[core].features.isa >= Isa.DSP, fpu=False, timing={})
    chosen = []
    for layer in layers:
        own = variant.get(layer.name, Variant()) if isinstance(variant, Mapping) else variant or Variant()
        chosen.append(own if layer.weights is not None else None)
    behind = (*layers[1:], None)
    steps = [Step.of(layer, own, after) for layer, own, after in zip(layers, chosen, behind, strict=True)]
    scratch = [step.scratch_bytes for step in steps]
    fused = [step.kind == "fused_pool" for step in steps]
    arena = plan_arena(layers, scratch, fused)
    items = tuple(
        LayerPlan(
            layer=layer,
            variant=chosen[i],
            cycles=1000 * (i + 1),
            terms={"im2col": 300 * (i + 1), "multiply_accumulate": 700 * (i + 1)},
            baseline_cycles=2500 * (i + 1),
            scratch_bytes=scratch[i],
            flash_bytes=layer.weights.nbytes if layer.weights is not None else 100,
            input_offset=arena.input_offsets[i],
            output_offset=arena.output_offsets[i],
            scratch_offset=arena.scratch_offsets[i],
            runner_up=None,
            fused_into=layers[i - 1].name if i and fused[i - 1] else None,
        )
        for i, layer in enumerate(layers)
    )
    outside = layers[0].input_bytes + layers[-1].output_bytes
    totals = {
        "cycles": sum(item.cycles for item in items),
        "ms": None,
        "energy_uj": None,
        "macs": sum(layer.macs for layer in layers),
        "sram_bytes": arena.bytes + outside,
        "arena_bytes": arena.bytes,
        "scratch_bytes": max(scratch),
        "flash_bytes": sum(item.flash_bytes for item in items),
    }
    return Plan(
        model=name,
        dtype=layers[0].dtype,
        target=target,
        layers=items,
        objective="latency",
        score="estimate",
        seed=0,
        compiler="gcc",
        cflags=cflags,
        arena_bytes=arena.bytes,
        totals=totals,
        budget={"sram": None, "flash": None},
        digests={"model": "0" * 64},
        regions=arena.regions,
    )


def tuned_plan(name: str, layers: Sequence[Layer], core: str, **options: Any) -> Plan:
    """The plan that the tuner makes for `layers` on a bare core."""
    import tuning

    nothing = {"sram": None, "flash": None}
    first = layers[0]
    path = Path(f"{name}.yaml")
    model = tuning.Model(name, first.dtype, first.input_shape, tuple(layers), nothing, None, "0" * 64, path)
    return tuning.tune(model, tuning.load_target(core), **options)


def with_layer(plan: Plan, index: int, **changes: object) -> Plan:
    """`plan` with fields of one of its layers changed."""
    items = list(plan.layers)
    items[index] = replace(items[index], **changes)
    return replace(plan, layers=tuple(items))


def age_folder(folder: Path) -> None:
    """Make an emitted folder one of the version before, whose plans say less and which held no archive of weights."""
    path = folder / "plan.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["steps"]
    for entry in content["layers"]:
        for key in ("ceil_mode", "weights", "bias", "pins"):
            del entry[key]
    path.write_text(json.dumps({**content, "schema": "plan-1"}), encoding="utf-8")
    (folder / f"{content['model']}_weights.npz").unlink(missing_ok=True)
