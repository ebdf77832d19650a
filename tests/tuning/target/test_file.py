# SPDX-License-Identifier: Apache-2.0
"""Targets: what ships, where every number comes from, and boards of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cmsisnn_x.isa import Isa
from tuning import TargetError
from tuning.target import CORES, MEMORY, NUMBERS, REFINEMENTS, TIMING, list_targets, load_target
from tuning.target.cores import CORES as ROWS

BOARDS = (
    "nucleo-f746zg", "nucleo-l4r5zi", "stm32f4-discovery", "nrf52840dk", "b-u585i-iot02a", "rp2040", "rp2350",
    "ek-ra8d1", "alif-e7", "alif-e8", "apollo510-evb", "mps3-an547",
)  # fmt: skip


def write(folder: Path, text: str, name: str = "board.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_core_and_board_ships() -> None:
    assert set(list_targets()) >= {*CORES, *BOARDS}


@pytest.mark.parametrize("name", sorted(list_targets()))
def test_every_number_has_a_source(name: str) -> None:
    target = load_target(name)
    assert set(target.timing) == set(TIMING)
    for key in TIMING:
        assert len(target.sources[f"timing.{key}"]) > 8, key
    for key in NUMBERS:
        if getattr(target, key):
            assert len(target.sources[key]) > 8, key
    assert "names no source" not in " ".join(target.sources.values())


@pytest.mark.parametrize("name", CORES)
def test_a_bare_core_has_no_clock_no_memories_and_no_wait_states(name: str) -> None:
    target = load_target(name)
    assert target.is_core
    assert (target.clock_hz, target.sram_bytes, target.flash_bytes, target.flash_wait_states) == (None, None, None, 0)
    assert target.milliseconds(1000) is None
    assert target.energy_uj(1000) is None


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_has_a_core_a_clock_and_memories(name: str) -> None:
    target = load_target(name)
    assert not target.is_core
    assert target.core in CORES
    assert set(target.timing) == set(load_target(target.core).timing)
    assert target.clock_hz
    assert target.sram_bytes
    assert target.flash_bytes
    assert target.milliseconds(target.clock_hz) == 1000


def test_dsp_is_where_armv7em_and_armv8m_have_it() -> None:
    """Of the cores that are known here; another one says it in its row."""
    have = {name for name in CORES if load_target(name).dsp}
    assert have >= {"cortex-m4", "cortex-m7", "cortex-m33", "cortex-m52", "cortex-m55", "cortex-m85"}
    assert have.isdisjoint({"cortex-m0plus", "cortex-m3"})
    assert have == {name for name, core in ROWS.items() if core.features.isa >= Isa.DSP}


def test_energy_is_current_times_voltage_times_time() -> None:
    board = load_target("nrf52840dk")
    # 52 uA/MHz at 3 V: 156 pJ per cycle.
    assert board.energy_uj(1_000_000) == pytest.approx(156.0)


@pytest.mark.parametrize(
    ("name", "cycles", "microjoules"),
    [
        # MLPerf Tiny v1.0, closed/STMicroelectronics: the clock over the inferences per second, and the energy of one.
        ("nucleo-l4r5zi", 120e6 / 4.409, 10681.6),
        ("nucleo-l4r5zi", 120e6 / 13.314, 3371.7),
        ("nucleo-l4r5zi", 120e6 / 132.077, 323.0),
        ("b-u585i-iot02a", 160e6 / 7.200, 3642.0),
        ("b-u585i-iot02a", 160e6 / 22.689, 1138.5),
        ("b-u585i-iot02a", 160e6 / 207.366, 119.1),
    ],
)
def test_energy_is_what_was_measured_of_networks(name: str, cycles: float, microjoules: float) -> None:
    assert load_target(name).energy_uj(cycles) == pytest.approx(microjoules, rel=0.06)


def test_the_documented_energies_are_those_of_the_files() -> None:
    text = (list_targets()["cortex-m4"].parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+)` \| (.+) V \| (.+) uA \| (.+) uJ \|", text, flags=re.M)
    assert {name for name, *_ in rows} == {name for name in BOARDS if load_target(name).energy_uj(1) is not None}
    assert len(rows) >= 6
    for name, volts, current, energy in rows:
        board = load_target(name)
        assert (board.supply_volts, board.run_microamps_per_mhz) == (float(volts), float(current))
        assert board.energy_uj(1_000_000) == pytest.approx(float(energy.replace(",", "")), abs=0.5)


def test_a_board_of_ones_own_inherits_a_core(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "schema: 1\nname: mine\ninherit: cortex-m4\nclock_hz: 80MHz\nsram_bytes: 96K\n"
        "flash_bytes: {value: 1M, source: datasheet}\n",
    )
    target = load_target(path)
    assert (target.name, target.core, target.dsp, target.clock_hz) == ("mine", "cortex-m4", True, 80_000_000)
    assert (target.sram_bytes, target.flash_bytes) == (98304, 1 << 20)
    assert target.sources["flash_bytes"] == "datasheet"
    assert target.timing == load_target("cortex-m4").timing
    assert not target.is_core


def test_a_board_may_inherit_a_file_beside_it_and_change_timing(tmp_path: Path) -> None:
    write(
        tmp_path, "schema: 1\nname: family\ninherit: nucleo-l4r5zi\nclock_hz: 48M\ntiming: {load: 3}\n", "family.yaml"
    )
    child = load_target(write(tmp_path, "schema: 1\nname: child\ninherit: family.yaml\nsram_bytes: 8K\n"))
    assert (child.clock_hz, child.sram_bytes, child.timing["load"]) == (48_000_000, 8192, 3.0)
    assert child.flash_bytes == load_target("nucleo-l4r5zi").flash_bytes
    assert child.digest != load_target("nucleo-l4r5zi").digest


@pytest.mark.parametrize("name", BOARDS)
def test_what_a_board_says_of_its_memories_is_explained(name: str) -> None:
    target = load_target(name)
    assert set(MEMORY) <= set(NUMBERS)
    assert all(MEMORY.values())
    assert set(target.refinements) <= set(REFINEMENTS)
    for key in target.refinements:
        assert len(target.sources[f"refinements.{key}"]) > 8, key
    assert target.waits == (name not in ("stm32f4-discovery", "mps3-an547"))


def test_a_child_can_take_back_what_its_parent_says(tmp_path: Path) -> None:
    text = "schema: 1\nname: x\ninherit: nucleo-l4r5zi\nflash_prefetch: true\nrefinements: {address_hazard: 0}\n"
    child, parent = load_target(write(tmp_path, text)), load_target("nucleo-l4r5zi")
    assert (child.flash_prefetch, child.flash_wait_states) == (True, parent.flash_wait_states)
    assert set(parent.refinements) - set(child.refinements) == {"address_hazard"}
    assert child.digest != parent.digest


def test_a_clock_can_be_given() -> None:
    target = load_target("cortex-m7").at(216_000_000)
    assert target.milliseconds(216_000) == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schema: 1\nname: x\ninherit: cortex-m5\n", ":3: inherit: unknown target 'cortex-m5'; did you mean 'cortex-m"),
        ("schema: 1\nname: x\ninherit: cortex-m4\nclok_hz: 1M\n", ":4: clok_hz: unknown key; did you mean 'clock_hz'?"),
        ("schema: 1\nname: x\ninherit: cortex-m4\nclock_hz: fast\n", ":4: clock_hz: expected a frequency"),
        (
            "schema: 1\nname: x\ninherit: cortex-m4\nsram_bytes: {value: 1K, sorce: y}\n",
            "sram_bytes.sorce: unknown key; did you mean 'source'?",
        ),
        ("schema: 1\nname: x\ninherit: cortex-m4\nsram_bytes: {source: y}\n", "sram_bytes.value: missing"),
        ("schema: 1\nname: x\ninherit: cortex-m4\nflash_wait_states: 5\n", "flash_wait_states: needs flash_line_bytes"),
        (
            "schema: 1\nname: x\ninherit: cortex-m4\nrefinements: {adress_hazard: 1}\n",
            "refinements.adress_hazard: unknown refinement; did you mean 'address_hazard'?",
        ),
        ("schema: 1\nname: x\ninherit: cortex-m4\nrefinements: 1\n", "refinements: expected a mapping"),
        (
            "schema: 1\nname: x\ncore: cortex-m4\ndsp: true\nfpu: true\nrefinements: {}\n",
            "refinements: belongs to a board",
        ),
        (
            "schema: 1\nname: x\ninherit: cortex-m4\nflash_prefetch: 1\n",
            "flash_prefetch: expected true or false, got 1",
        ),
        ("schema: 1\nname: x\ninherit: cortex-m4\ndtcm_bytes: 64M\n", "dtcm_bytes: expected at most 16 MiB"),
        ("schema: 1\nname: x\ninherit: cortex-m4\nflash_line_bytes: 12\n", "flash_line_bytes: expected a power of two"),
        (
            "schema: 1\nname: x\ninherit: cortex-m4\nflash_cache_bytes: 1K\n",
            "needs cache_line_bytes or flash_line_bytes",
        ),
        (
            "schema: 1\nname: x\ninherit: cortex-m4\ninstruction_cache_bytes: 100\ncache_line_bytes: 32\n",
            "instruction_cache_bytes: 100 bytes are no power of two of sets of 3 lines of 32 bytes",
        ),
        (
            "schema: 1\nname: x\ninherit: nucleo-l4r5zi\ncache_line_bytes: 4\n",
            "cache_line_bytes: expected at least flash_line_bytes, 8, got 4",
        ),
        ("schema: 1\nname: x\ninherit: cortex-m4\nshared_cache: true\n", "shared_cache: needs instruction_cache_bytes"),
        ("schema: 1\nname: x\ninherit: cortex-m4\nsram_cached: true\n", "sram_cached: needs flash_cache_bytes"),
        (
            "schema: 1\nname: x\ninherit: cortex-m4\ntiming: {lod: 1}\n",
            "timing.lod: unknown instruction class; did you mean 'load'?",
        ),
        ("schema: 1\nname: x\ninherit: cortex-m4\ntiming: {load: -1}\n", "timing.load: expected cycles"),
        ("schema: 1\nname: x\ninherit: cortex-m4\ndsp: maybe\n", "dsp: expected true or false, got 'maybe'"),
        ("schema: 1\nname: x\ninherit: cortex-m55\ndsp: false\n", ":4: dsp: expected true, as cortex-m55 has Helium"),
        ("schema: 1\nname: x\ncore: cortex-m4\ndsp: true\nfpu: true\n", "timing: issue_width is missing"),
        ("schema: 1\nname: x\ncore: cortex-a7\n", ":3: core: unknown core 'cortex-a7'"),
        ("schema: 1\nname: x\n", "core: missing"),
        ("schema: 1\ninherit: cortex-m4\n", "name: missing"),
        ("schema: 2\nname: x\ninherit: cortex-m4\n", ":1: schema: expected 1, got 2"),
        ("schema: 1\nname: x\ninherit: board.yaml\n", "inherit each other: board.yaml -> board.yaml"),
        ("- 1\n", "expected a mapping"),
    ],
)
def test_a_wrong_target_is_one_clear_sentence(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_target(write(tmp_path, text))
    assert expected in str(caught.value)
    assert "board.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(TargetError, match="did you mean 'cortex-m4'"):
        load_target("cortexm4")
    with pytest.raises(TargetError, match="no such file"):
        load_target("missing.yaml")
