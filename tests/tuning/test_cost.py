# SPDX-License-Identifier: Apache-2.0
"""The cost model: exact counts, sums that add up, the same answer on every machine, quickly."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from math import prod

import numpy as np
import pytest

from cmsisnn_x import Variant
from cmsisnn_x._variants import BLOCKED_OPS
from cmsisnn_x.buffers import layer_scratch_bytes
from cmsisnn_x.layers import Layer
from cmsisnn_x.packing import pack_device_weights
from tuning.calibrate import Sample, fit, grid, make_layer, unseen
from tuning.cost import TERMS, estimate, estimate_space, features, fitted, mix
from tuning.model import load_model
from tuning.space import baseline_of, search_space
from tuning.target import CORES, load_target

LAYERS = grid()


def part(layer: Layer, variant: Variant | None, name: str, dsp: bool = True) -> float:
    at = list(features.parts_of(layer.op)).index(name)
    return float(features.count(layer, [variant], dsp)[0, at])


def brute_force(layer: Layer, variant: Variant) -> dict[str, int]:
    """What the im2col convolution does, counted by doing it."""
    (in_h, in_w, channels), (out_h, out_w, out_ch) = layer.image, layer.output_image
    seen = dict.fromkeys(("taps", "zeroed", "segments", "clipped", "blocks", "left_blocks", "groups"), 0)
    filled = 0
    for y in range(out_h):
        for x in range(out_w):
            top, left = y * layer.stride[0] - layer.padding[0][0], x * layer.stride[1] - layer.padding[1][0]
            for row in range(top, top + layer.kernel[0]):
                inside = (
                    sum(0 <= column < in_w for column in range(left, left + layer.kernel[1])) if 0 <= row < in_h else 0
                )
                seen["segments"] += 1
                seen["clipped"] += 0 <= row < in_h and inside < layer.kernel[1]
                seen["taps"] += inside * channels
                seen["zeroed"] += (layer.kernel[1] - inside) * channels
            filled += 1
            if filled == variant.im2col_cols or (y, x) == (out_h - 1, out_w - 1):
                columns = -(-filled // variant.block_cols)
                whole, rest = divmod(out_ch, variant.block_rows)
                left_blocks = rest if variant.weight_layout == "plain" else -(-rest // 2)
                seen["blocks"] += whole * columns
                seen["left_blocks"] += left_blocks * columns
                seen["groups"] += whole + left_blocks
                filled = 0
    return seen


@pytest.mark.parametrize(
    "layer", [layer for layer in LAYERS if layer.op == "conv2d" and layer.dtype == "q7"], ids=lambda layer: layer.name
)
def test_counts_of_im2col_are_what_the_kernel_does(layer: Layer) -> None:
    for variant in [v for v in search_space(layer, load_target("cortex-m4")) if v.lowering == "im2col"][::13]:
        expected = brute_force(layer, variant)
        assert part(layer, variant, "widened") * 4 + part(layer, variant, "ragged") == expected.pop("taps")
        for name, count in expected.items():
            assert part(layer, variant, name) == count, (name, variant)


@pytest.mark.parametrize("core", CORES)
def test_multiplies_are_all_there(core: str) -> None:
    """Passes x products per pass cover every multiply-accumulate; blocks that reach over an edge compute a few more."""
    target = load_target(core)
    for layer in [item for item in LAYERS if item.op == "conv2d"]:
        for v in [v for v in search_space(layer, target) if v.lowering != "winograd"][::17]:
            narrow = layer.weights_dtype == "q7"
            step = 4 if target.dsp and narrow and v.weight_layout == "plain" else 2
            left_rows = 1 if v.weight_layout == "plain" else 2
            done = (
                v.block_rows
                * v.block_cols
                * (part(layer, v, "steps", target.dsp) * step + part(layer, v, "tail", target.dsp))
            )
            done += (
                left_rows
                * v.block_cols
                * (part(layer, v, "left_steps", target.dsp) * step + part(layer, v, "left_tail", target.dsp))
            )
            assert done >= layer.macs
            if (
                layer.output_shape[1] % v.block_cols == 0 == layer.output_shape[2] % max(v.block_rows, left_rows)
                and v.im2col_cols == v.block_cols
            ):
                assert done == layer.macs


@pytest.mark.parametrize("core", CORES)
def test_terms_add_up_and_footprints_are_the_packers_and_buffers(core: str) -> None:
    target = load_target(core)
    for layer in LAYERS[::3]:
        space = search_space(layer, target)
        table = estimate_space(layer, space.variants, target)
        assert (table.cycles > 0).all()
        for index in range(0, len(table), 29):
            item, variant = table[index], table.variants[index]
            assert item == estimate(layer, variant, target)
            assert list(item.terms) == list(TERMS)
            assert sum(item.terms.values()) == item.cycles
            assert item.terms["memory"] == 0
            if layer.python_op in BLOCKED_OPS:
                assert item.scratch_bytes == layer_scratch_bytes(layer, variant)
                assert table.weights_bytes[index] == pack_device_weights(layer, variant).nbytes + layer.bias.nbytes
            else:
                assert item.scratch_bytes == table.weights_bytes[index] == 0


def test_a_hundred_thousand_variants_a_second() -> None:
    target, layer = load_target("cortex-m7"), load_model("cifar10").layers[2]
    variants = search_space(layer, target).variants
    many = variants * (40_000 // len(variants))
    estimate_space(layer, variants, target)
    best = min(_seconds(lambda: estimate_space(layer, many, target)) for _ in range(5))
    assert len(many) / best > 100_000


def _seconds(work: object) -> float:
    start = time.process_time()
    work()  # type: ignore[operator]
    return time.process_time() - start


def test_bigger_layers_cost_more() -> None:
    target = load_target("cortex-m4")
    small, large = (make_layer("l", "conv2d", "q7", (size, size, 8), 8, (3, 3), (1, 1), 1) for size in (8, 16))
    for variant in search_space(small, target).variants[::5]:
        assert estimate(small, variant, target).cycles < estimate(large, variant, target).cycles


def test_wait_states_cost_passes_over_the_weights() -> None:
    board = load_target("nucleo-l4r5zi")
    conv = load_model("cifar10").layers[2]
    variant = Variant(4, 2, 2, 4)
    size = pack_device_weights(conv, variant).nbytes + conv.bias.nbytes
    once = size / board.flash_line_bytes * board.flash_wait_states
    passes = 16 * 16 // 2  # blocks of two columns: no row of weights fits into the cache
    waits = estimate(conv, variant, board).terms["memory"]
    assert passes * once <= waits <= 1.01 * passes * once
    cached = replace(board, flash_cache_bytes=1 << 20)
    assert once <= estimate(conv, variant, cached).terms["memory"] <= 1.02 * once + 1500  # and the code, once
    fast = replace(board, flash_wait_states=0)
    assert estimate(conv, variant, fast).cycles == estimate(conv, variant, load_target("cortex-m4")).cycles


def test_slower_loads_of_a_custom_target_cost_more() -> None:
    core = load_target("cortex-m4")
    slow = replace(core, timing={**core.timing, "load": 4.0, "load_next": 3.0})
    layer = load_model("cifar10").layers[2]
    for variant in search_space(layer, core).variants[::40]:
        assert estimate(layer, variant, slow).cycles > estimate(layer, variant, core).cycles


@pytest.mark.parametrize("core", CORES)
def test_every_kernel_of_the_prior_has_a_positive_price(core: str) -> None:
    target = load_target(core)
    for layer in LAYERS[::4]:
        for variant in (search_space(layer, target).variants or (None,))[::11]:
            price = mix.price(layer, variant, target.dsp, target.timing)
            assert len(price) == len(features.parts_of(layer.op))
            assert min(price) > 0


# ---------------------------------------------------------------- fitted coefficients


CALIBRATED = [core for core in CORES if fitted.coefficients(core).families]


def test_the_cores_of_the_published_tables_are_calibrated() -> None:
    assert {"cortex-m4", "cortex-m7"} <= set(CALIBRATED)


@pytest.mark.parametrize("core", CALIBRATED)
def test_shipped_coefficients_are_complete_and_say_how_they_were_made(core: str) -> None:
    """Every q7 kernel was fitted, itself or with its group: no ranking mixes fitted kernels with unfitted ones."""
    found, target = fitted.coefficients(core), load_target(core)
    assert found.compiler
    assert any(flag.startswith("-O") for flag in found.cflags)
    for layer in unseen(("q7",)):
        for variant in search_space(layer, target).variants or (None,):
            name = fitted.family(layer, variant)
            assert name in found.families or fitted.group(name) in found.groups, (layer.name, variant)
    for name, cycles in found.families.items():
        assert len(cycles) == len(features.parts_of(name.split()[0]))
        assert all(value >= 0 for value in cycles)
        assert sum(cycles) > 0
        assert found.code_bytes.get(name, 100) >= 100  # unknown, or a plausible size: never a stub's
        assert fitted.group(name) in found.groups


@pytest.mark.parametrize("core", CALIBRATED)
def test_errors_on_unseen_layers_are_published(core: str) -> None:
    errors = fitted.coefficients(core).errors
    assert set(errors) == {layer.op for layer in unseen(("q7",))}
    for op, error in errors.items():
        assert 0 <= error["median"] <= error["p90"] <= error["worst"], op
        assert error["runs"] > 0


def test_coefficients_survive_their_file() -> None:
    errors = {"conv2d": {"median": 0.01}}
    found = fitted.Coefficients(
        "cortex-m4", "gcc 1", ("-O3",), {"a": (1.0, 2.5)}, {"b": (0.5, 1.0)}, {"a": 10}, {"a": 64}, errors
    )
    text = fitted.to_json(found)
    assert fitted.from_json(text) == found
    assert json.loads(text)["schema"] == fitted.SCHEMA
    with pytest.raises(ValueError, match="schema"):
        fitted.from_json(text.replace(fitted.SCHEMA, "other"))


def test_the_fit_recovers_known_coefficients() -> None:
    """Runs priced with other coefficients than the prior's: the fit finds them, for layers that it did not see too."""
    target = load_target("cortex-m4")
    variant = Variant(4, 2, 2, 2)
    rng = np.random.default_rng(5)
    layers = [layer for layer in LAYERS if layer.op == "conv2d" and layer.dtype == "q7"]
    prior = np.array(mix.price(layers[0], variant, True, target.timing))
    truth = prior * rng.uniform(0.5, 2, prior.size)
    samples = [
        Sample(layer, variant, round(float(features.count(layer, [variant], True)[0] @ truth)), 100) for layer in layers
    ]
    found = np.array(fit({"family": samples}, target)[0]["family"])
    for layer in [layer for layer in unseen(("q7",)) if layer.op == "conv2d"]:
        counts = features.count(layer, [variant], True)[0]
        assert counts @ found == pytest.approx(counts @ truth, rel=0.03), layer.name


def test_baselines_exist_on_every_core() -> None:
    for core in CORES:
        target = load_target(core)
        for layer in load_model("cifar10").layers:
            space = search_space(layer, target)
            if len(space):
                assert estimate(layer, baseline_of(space), target).cycles > 0
                assert prod(layer.output_shape) > 0


def test_a_starved_fit_does_not_make_a_kernel_look_free(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, target = load_model("cifar10").layers[2], load_target("cortex-m7")
    variant = Variant(1, 2, 4, 4, "line_buffer", "widened")
    known = fitted.coefficients("cortex-m7")
    name, steps = fitted.family(layer, variant), list(features.parts_of("conv2d")).index("steps")
    starved = list(known.families[name])
    starved[steps] = 0.0
    broken = replace(known, families={**known.families, name: tuple(starved)})
    honest = estimate(layer, variant, target).terms["multiply_accumulate"]
    monkeypatch.setattr(fitted, "coefficients", lambda core: broken)
    # A multiplier that takes two products a cycle needs half as many cycles as there are products, whatever was fitted.
    assert 0.25 * layer.macs < estimate(layer, variant, target).terms["multiply_accumulate"] < honest
