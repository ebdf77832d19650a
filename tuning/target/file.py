# SPDX-License-Identifier: Apache-2.0
"""Targets: a core with its instruction timing, or a board that inherits one and adds clock, memories and wait
states.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cmsisnn_x.isa import Features, Isa

from ..base import resources, yaml_file
from ..base.errors import TargetError
from ..base.units import parse_hertz, parse_size
from .cores import CORES

TIMING = {
    "issue_width": "instructions that may start in one cycle",
    "alu": "cycles of an add, shift, logic, move, saturate, extend or pack",
    "load": "cycles of a load",
    "load_next": "cycles of a load that directly follows another load or store",
    "load_latency": "cycles from a load to the first use of its result",
    "store": "cycles of a store",
    "multiple_base": "cycles of LDM, STM, LDRD, STRD, PUSH or POP, without its registers",
    "multiple_each": "cycles per register of LDM, STM, LDRD, STRD, PUSH or POP",
    "multiply": "cycles of MUL, SMUAD, SMULBB",
    "multiply_accumulate": "cycles of MLA, SMLAD, SMLABB and of long multiplies",
    "multiply_latency": "cycles from a multiply to the first use of its result, accumulation apart",
    "divide": "cycles of SDIV and UDIV",
    "branch": "cycles of a branch, taken or not",
    "branch_taken": "further cycles of a taken branch",
    "branch_mispredicted": "cycles of a branch that was predicted wrongly (cores that predict)",
}
"""Every key of a target's `timing`, and what it counts."""

NEVER_FREE = ("issue_width", "alu", "load", "load_next", "store", "multiply", "multiply_accumulate", "divide", "branch")

MEMORY = {
    "flash_wait_states": "further cycles of a read of the flash that neither a cache nor a buffer serves",
    "flash_line_bytes": "bytes that one read of the flash delivers; the line read last stays in a buffer",
    "flash_prefetch": "whether the flash reads the next line ahead while one is executed",
    "flash_cache_bytes": "cache that serves constants in the flash",
    "instruction_cache_bytes": "cache that serves instructions in the flash",
    "shared_cache": "whether constants in the flash go through the instruction cache",
    "cache_line_bytes": "line of the caches; default: flash_line_bytes",
    "cache_ways": "ways of each set of the cache of constants; default: fully associative",
    "instruction_cache_ways": "ways of each set of the instruction cache; default: fully associative",
    "line_fill_cycles": "further cycles of a read of the flash, for the way of a line over the bus",
    "sram_wait_states": "further cycles of a load from SRAM outside the TCM; stores go through a buffer",
    "sram_cached": "whether the cache of flash_cache_bytes serves SRAM outside the TCM too",
    "dtcm_bytes": "data TCM at 0x20000000, which waits for nothing",
    "itcm_bytes": "instruction TCM at address 0, which waits for nothing",
}
"""What a board may say of its memories: a simple model, held against the accesses that the emulator counts."""

REFINEMENTS = {
    "address_hazard": "cycles added to a load or store whose base or index the instruction before it computed",
    "load_after_store": "cycles added to a load straight after a store, which does not pipeline",
    "store_after_load": "cycles saved by a store with immediate offset straight after a load, which it overlaps",
    "store_register_offset": "cycles added to a store with a register as offset",
    "writeback_chain": "cycles added to a pre- or post-indexed access straight after another one of the same base",
    "it_folded": "cycles saved by an IT after a 16-bit instruction, which folds it into itself",
    "branch_target": "cycles added to a taken branch to a 32-bit instruction that does not start at a word",
    "unaligned_load": "cycles added to a load across a word boundary",
    "unaligned_store": "cycles added to a store across a word boundary",
    "bank_conflict": "cycles added when two loads of one cycle want the same bank (bit 2 of the address)",
    "itcm_vector": "cycles added per eight bytes of a vector that is loaded from the ITCM, 32 bits wide",
    "gather_pair": "cycles added per two elements of a gather or scatter beyond the first four",
    "gather_conflict": "cycles added to two elements in other words of one DTCM bank (bits 2, 3), or outside the DTCM",
    "store_buffer": "cycles added to a byte or halfword store straight after another: each is read and written back",
}
"""What a board may say of its core beyond the fixed rules that price a bare core."""


@dataclass(frozen=True)
class Target:
    """A core or a board. A bare core has zero wait states and no clock, memories or energy figures.

    Attributes
    ----------
    name, core : str
        ``"nucleo-f746zg"``, ``"cortex-m7"``; the same for a bare core.
    dsp, fpu : bool
        Whether it has the DSP extension (SMLAD and its like), and a floating-point unit, which kernels do not use.
    timing, refinements : mapping of str to float
        Instruction class -> cycles: the keys of :data:`TIMING` and :data:`REFINEMENTS`, which explain them.
    clock_hz : int or None
    sram_bytes, flash_bytes : int or None
        Default budgets of a plan.
    flash_wait_states, ..., itcm_bytes
        The memories, explained by :data:`MEMORY`.
    supply_volts, run_microamps_per_mhz : float or None
        For the energy.
    title : str
    inherit : str or None
        Target that a board inherits; None for a core.
    sources : mapping of str to str
        Key of a number (``"clock_hz"``, ``"timing.load"``) -> where it comes from.
    core_timing : mapping of str to float
        The `timing` of the core, which a board may declare otherwise; the estimate's coefficients hold for it.
    """

    name: str
    core: str
    dsp: bool
    fpu: bool
    timing: Mapping[str, float]
    clock_hz: int | None = None
    sram_bytes: int | None = None
    flash_bytes: int | None = None
    flash_wait_states: int = 0
    flash_line_bytes: int = 0
    flash_cache_bytes: int = 0
    flash_prefetch: bool = False
    instruction_cache_bytes: int = 0
    shared_cache: bool = False
    cache_line_bytes: int = 0
    cache_ways: int = 0
    instruction_cache_ways: int = 0
    line_fill_cycles: int = 0
    sram_wait_states: int = 0
    sram_cached: bool = False
    dtcm_bytes: int = 0
    itcm_bytes: int = 0
    refinements: Mapping[str, float] = field(default_factory=dict)
    supply_volts: float | None = None
    run_microamps_per_mhz: float | None = None
    title: str = ""
    inherit: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    core_timing: Mapping[str, float] = field(default_factory=dict)

    @property
    def features(self) -> Features:
        """What kernels know of it: its core's, with the instructions that it declares."""
        features = CORES[self.core].features
        return replace(features, isa=max(features.isa, Isa.DSP) if self.dsp else Isa.SCALAR)

    @property
    def is_core(self) -> bool:
        """Whether this is a bare core: nothing but instruction timing."""
        return self.inherit is None

    @property
    def waits(self) -> bool:
        """Whether some memory is slower than the core."""
        return bool(self.flash_wait_states or self.line_fill_cycles or self.sram_wait_states)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that can change a plan."""
        content = {key: value for key, value in asdict(self).items() if key not in ("title", "sources", "core_timing")}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode()).hexdigest()

    def at(self, clock_hz: int | None) -> Target:
        """This target at another clock, wait states unchanged."""
        return (
            self
            if clock_hz is None
            else replace(self, clock_hz=clock_hz, sources={**self.sources, "clock_hz": "given by the user"})
        )

    def milliseconds(self, cycles: float) -> float | None:
        """Time of `cycles` at the target's clock; ``None`` without a clock."""
        return None if self.clock_hz is None else cycles / self.clock_hz * 1e3

    def energy_uj(self, cycles: float) -> float | None:
        """Microjoules of `cycles` in run mode, from the current per megahertz that the board declares; ``None``
        where it does not.
        """
        if self.supply_volts is None or self.run_microamps_per_mhz is None:
            return None
        return cycles * self.supply_volts * self.run_microamps_per_mhz * 1e-6


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError(f"expected a positive number, got {value!r}")
    return float(value)


def _cycles(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueError(f"expected cycles, a number in 0..100, got {value!r}")
    return float(value)


def _rate(value: object) -> float:
    """Cycles of something that is never free: others are divided by it."""
    if not _cycles(value):
        raise ValueError(f"expected more than 0 cycles, got {value!r}")
    return _cycles(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise ValueError(f"expected an integer in 0..255, got {value!r}")
    return value


def _size_or_zero(value: object) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else parse_size(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {value!r}")
    return value


def _power_of_two(value: object) -> int:
    size = _size_or_zero(value)
    if size & (size - 1):
        raise ValueError(f"expected a power of two, got {size}")
    return size


def _near(value: object) -> int:
    """Size of a memory beside the core: caches and TCM."""
    size = _size_or_zero(value)
    if size > 1 << 24:
        raise ValueError(f"expected at most 16 MiB, got {size} bytes")
    return size


NUMBERS = {
    "clock_hz": parse_hertz,
    "sram_bytes": parse_size,
    "flash_bytes": parse_size,
    "flash_wait_states": _count,
    "flash_line_bytes": _power_of_two,
    "flash_cache_bytes": _near,
    "flash_prefetch": _flag,
    "instruction_cache_bytes": _near,
    "shared_cache": _flag,
    "cache_line_bytes": _power_of_two,
    "cache_ways": _count,
    "instruction_cache_ways": _count,
    "line_fill_cycles": _count,
    "sram_wait_states": _count,
    "sram_cached": _flag,
    "dtcm_bytes": _near,
    "itcm_bytes": _near,
    "supply_volts": _positive,
    "run_microamps_per_mhz": _positive,
}
"""Every number of a board: how it is read. Each is ``{value: ..., source: ...}``, or a bare value in a file of
one's own.
"""

KEYS = ("schema", "name", "title", "inherit", "core", "dsp", "fpu", "timing", "refinements", *NUMBERS)


def list_targets() -> dict[str, Path]:
    """The shipped cores and boards.

    Returns
    -------
    dict of str to pathlib.Path
        Name -> file.
    """
    return resources.folder("targets")


def load_target(source: str | os.PathLike[str]) -> Target:
    """Read a target.

    Parameters
    ----------
    source : path or str
        Name of a shipped core or board (``"cortex-m4"``, ``"nucleo-f746zg"``), or a YAML file; its `inherit:` names
        a shipped target or a file relative to it.

    Returns
    -------
    Target

    Raises
    ------
    TargetError
        No such target, or the file is wrong: file, line, key, what was expected, what was got.
    """
    return _load(find_target(source), ())


def find_target(source: str | os.PathLike[str], relative_to: Path | None = None) -> Path:
    known = list_targets()
    if str(source) in known:
        return known[str(source)]
    path = Path(source) if relative_to is None else relative_to / source
    try:
        if path.suffix in (".yaml", ".yml") or path.is_file():
            return path
    except OSError:  # a name that no file system takes
        pass
    raise TargetError(
        f"unknown target {str(source)!r}; {yaml_file.suggest(str(source), known)} (or give the path of a .yaml file)"
    )


def _load(path: Path, children: tuple[Path, ...]) -> Target:
    file = _File(path)
    file.check_head()
    base = file.base(children)
    file.sources.update(base.sources)
    changes = {**file.features(), **file.numbers()}
    timing, refinements = file.timing(base.timing), file.refinements(base.refinements)
    if missing := [name for name in TIMING if name not in timing]:
        raise file.error(("timing",), f"{missing[0]} is missing: {TIMING[missing[0]]}")
    own = base.core_timing if file.inherits else timing
    target = replace(base, **changes, timing=timing, core_timing=own, refinements=refinements, sources=file.sources)
    if wrong := _contradiction(target):
        raise file.error((wrong[0],), wrong[1])
    return target


class _File:
    """A target file while it is read, key by key; what is wrong is said with its line. `sources` grows meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.document = yaml_file.read(path, TargetError)
        self.data: Any = self.document.data
        self.sources: dict[str, str] = {}

    def error(self, key: yaml_file.Key, text: str) -> TargetError:
        return TargetError(self.document.message(key, text))

    @property
    def inherits(self) -> bool:
        return "inherit" in self.data

    def check_head(self) -> None:
        """Keys, schema and names."""
        data = self.data
        if not isinstance(data, dict):
            raise self.error((), "expected a mapping with schema, name and inherit")
        for key in data:
            if key not in KEYS:
                raise self.error((key,), f"unknown key; {yaml_file.suggest(key, KEYS)}")
        if data.get("schema") != 1 or isinstance(data.get("schema"), bool):
            raise self.error(("schema",), f"expected 1, got {data.get('schema')!r}")
        for key in ("name", "title", "inherit"):
            if key in data and not (isinstance(data[key], str) and data[key] and data[key].isprintable()):
                raise self.error((key,), f"expected a line of text, got {data[key]!r}")
        if "name" not in data:
            raise self.error(("name",), "missing; expected the target's name")

    def base(self, children: tuple[Path, ...]) -> Target:
        """What the file begins with: the target that it inherits, else a core of which nothing is known."""
        data = self.data
        name, title = data["name"], data.get("title", "")
        if not self.inherits:
            if data.get("core") not in list(CORES):
                hint = yaml_file.suggest(data.get("core"), CORES)
                raise self.error(
                    ("core",),
                    f"missing; give `inherit` or a core, {hint}"
                    if "core" not in data
                    else f"unknown core {data['core']!r}; {hint}",
                )
            return Target(name, data["core"], False, False, {}, title=title)
        if "core" in data:
            raise self.error(("core",), "comes from the inherited target; remove it, or remove `inherit`")
        try:
            parent = find_target(data["inherit"], self.path.parent)
        except TargetError as problem:
            raise self.error(("inherit",), str(problem)) from None
        if parent.resolve() in (chain := (*children, self.path.resolve())):
            names = " -> ".join(p.name for p in (*chain, parent))
            raise self.error(("inherit",), f"targets inherit each other: {names}")
        return replace(_load(parent, chain), name=name, title=title, inherit=data["inherit"])

    def features(self) -> dict[str, bool]:
        """What the core has; a board need not say it again."""
        found = {}
        for key in ("dsp", "fpu"):
            if key in self.data:
                if not isinstance(self.data[key], bool):
                    raise self.error((key,), f"expected true or false, got {self.data[key]!r}")
                found[key] = self.data[key]
            elif not self.inherits:
                raise self.error((key,), "missing; expected true or false")
        return found

    def numbers(self) -> dict[str, Any]:
        """The numbers of a board; one that is given as nothing has its default."""
        found = {}
        for key, read in NUMBERS.items():
            if key in self.data:
                found[key] = self.number((key,), self.data[key], read)
                default = getattr(Target, key, None)
                if found[key] is None and default is not None:
                    found[key] = default
        return found

    def timing(self, inherited: Mapping[str, float]) -> dict[str, float]:
        timing = dict(inherited)
        for name, item in self.mapping("timing", "instruction classes").items():
            if name not in TIMING:
                raise self.error(("timing", name), f"unknown instruction class; {yaml_file.suggest(name, TIMING)}")
            timing[name] = self.number(("timing", name), item, _rate if name in NEVER_FREE else _cycles)
            if timing[name] is None:
                raise self.error(("timing", name), "expected cycles, got nothing")
        return timing

    def refinements(self, inherited: Mapping[str, float]) -> dict[str, float]:
        refinements = dict(inherited)
        if "refinements" in self.data and not self.inherits:
            raise self.error(("refinements",), "belongs to a board: a bare core is priced by the fixed rules")
        for name, item in self.mapping("refinements", "refinements").items():
            if name not in REFINEMENTS:
                raise self.error(("refinements", name), f"unknown refinement; {yaml_file.suggest(name, REFINEMENTS)}")
            cycles = self.number(("refinements", name), item, _cycles)
            refinements.pop(name, None)
            if cycles:
                refinements[name] = cycles
        return refinements

    def mapping(self, key: str, of: str) -> dict[str, Any]:
        found = self.data.get(key, {})
        if not isinstance(found, dict):
            raise self.error((key,), f"expected a mapping of {of} to cycles, got {found!r}")
        return found

    def number(self, key: yaml_file.Key, item: Any, read: Callable[[Any], Any]) -> Any:
        """A number, with or without its source, which is noted."""
        value, source = item, "the target file, which names no source"
        if isinstance(item, dict):
            if unknown := [name for name in item if name not in ("value", "source")]:
                hint = yaml_file.suggest(unknown[0], ("value", "source"))
                raise self.error((*key, unknown[0]), f"unknown key; {hint}")
            if "value" not in item:
                raise self.error((*key, "value"), "missing; expected {value: ..., source: ...}")
            value, source = item["value"], item.get("source", source)
            if not isinstance(source, str):
                raise self.error((*key, "source"), f"expected text, got {source!r}")
        self.sources[".".join(map(str, key))] = source
        if value is None:
            return None
        try:
            return read(value)
        except ValueError as problem:
            raise self.error(key, str(problem)) from None


def _contradiction(target: Target) -> tuple[str, str] | None:
    """The key that says something impossible, and why."""
    if CORES[target.core].helium and not target.dsp:
        return "dsp", f"expected true, as {target.core} has Helium, which builds on it, got false"
    if target.flash_wait_states and not target.flash_line_bytes:
        return "flash_wait_states", "needs flash_line_bytes: how many bytes one access to the flash delivers"
    if target.flash_line_bytes > 256:
        return "flash_line_bytes", f"expected at most 256, got {target.flash_line_bytes}"
    line = target.cache_line_bytes or target.flash_line_bytes
    if line < target.flash_line_bytes:
        return "cache_line_bytes", f"expected at least flash_line_bytes, {target.flash_line_bytes}, got {line}"
    for key, given in (
        ("flash_cache_bytes", target.cache_ways),
        ("instruction_cache_bytes", target.instruction_cache_ways),
    ):
        size = getattr(target, key)
        if not size:
            continue
        if not line:
            return key, "needs cache_line_bytes or flash_line_bytes"
        ways = given or size // line
        if size % line or not ways or (size // line) % ways or (size // line // ways).bit_count() != 1:
            return key, f"{size} bytes are no power of two of sets of {ways or 1} lines of {line} bytes"
    if target.shared_cache and not target.instruction_cache_bytes:
        return "shared_cache", "needs instruction_cache_bytes"
    if target.shared_cache and target.flash_cache_bytes:
        return "shared_cache", "goes without flash_cache_bytes: constants use the one cache or the other"
    if target.sram_cached and not target.flash_cache_bytes:
        return "sram_cached", "needs flash_cache_bytes: the cache that serves it"
    return None
