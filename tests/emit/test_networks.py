# SPDX-License-Identifier: Apache-2.0
"""Emitted C of odd networks gives the bytes of an independent NumPy forward pass, here and on a Cortex-M."""

from __future__ import annotations

import numpy as np
import pytest

import tuning
from cmsisnn_x import Network, Variant
from helpers.cores import HELIUM, PLAIN
from helpers.folders import assert_same, emulated_run, emulator, host_run, sanitized_run
from helpers.networks import NETWORKS, VARIANTS, forward, inputs
from helpers.plans import make_plan, tuned_plan
from helpers.samples import one_in


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function is test_tuned_firmware_equals_the_definition:
        # With --rest each network meets a core, and each core three or four networks, by default half of those meet;
        # --full is the product.
        cores = (*PLAIN, *HELIUM) if metafunc.config.getoption("--full") else None
        pairs = [(n, c) for i, n in enumerate(sorted(NETWORKS)) for c in cores or PLAIN[i % 5 :][:1]]
        if cores is None:
            pairs += [(n, HELIUM[i % 3]) for i, n in enumerate(sorted(NETWORKS)[::6])]
        metafunc.parametrize(("name", "core"), one_in(2 if cores is None else 1, pairs))


every_network = pytest.mark.parametrize("name", sorted(NETWORKS))


@every_network
def test_python_network_equals_the_definition(name: str) -> None:
    layers = NETWORKS[name]
    network = Network(layers)
    for x in inputs(layers, 5):
        assert_same(np.asarray(network.run(x)), forward(layers, x), name)


@every_network
def test_host_build_equals_the_definition_at_any_alignment(name: str, tmp_path) -> None:
    layers = NETWORKS[name]
    plan = make_plan(name, layers)
    tuning.emit(plan, tmp_path)
    run = host_run(plan, tmp_path)
    for number, x in enumerate(inputs(layers, 8)):
        offset = number * x.itemsize % 4
        assert_same(run(x, offset), forward(layers, x), f"{name} at offset {offset}")


@pytest.mark.full
@every_network
def test_host_build_has_no_undefined_behaviour(name: str, tmp_path) -> None:
    layers = NETWORKS[name]
    plan = make_plan(name, layers)
    tuning.emit(plan, tmp_path)
    chosen = inputs(layers, 6)
    offset = chosen[0].itemsize
    for x, got in zip(chosen, sanitized_run(plan, tmp_path, chosen, offset), strict=True):
        assert_same(got, forward(layers, x), name)


@pytest.mark.emulated
def test_tuned_firmware_equals_the_definition(name: str, core: str, tmp_path) -> None:
    layers = NETWORKS[name]
    plan = tuned_plan(name, layers, core)
    tuning.emit(plan, tmp_path)
    machine = emulator(plan, tmp_path, core)
    for number, x in enumerate(inputs(layers, 4, core)):
        assert_same(emulated_run(plan, machine, x, number), forward(layers, x), f"{name} on {core} at offset {number}")


@pytest.mark.emulated
@pytest.mark.parametrize("variant", VARIANTS[1:], ids=str)
@pytest.mark.parametrize("name", ["separable", "q15"])
def test_firmware_of_other_variants_equals_the_definition(name: str, variant: Variant, tmp_path) -> None:
    layers = NETWORKS[name]
    plan = make_plan(name, layers, core="cortex-m4", variant=variant)
    tuning.emit(plan, tmp_path)
    machine = emulator(plan, tmp_path, "cortex-m4")
    for x in inputs(layers, 3, str(variant)):
        assert_same(emulated_run(plan, machine, x), forward(layers, x), f"{name} {variant}")


def test_identical_layers_share_one_kernel() -> None:
    text = tuning.emit.render(make_plan("twins", NETWORKS["twins"]))["twins.c"]
    # The first reads the caller's buffer and the last writes it; the two between are the same code.
    assert text.count('#include "cmsisnn_x/convolve.h"') == 3
    assert text.count("twins_conv2d1_kernel(input") == 2
