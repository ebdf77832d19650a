# SPDX-License-Identifier: Apache-2.0
"""Networks whose plans and object code are committed in a compact form; run as a script, the file is written anew.

Shipped and small networks on cores and boards, with budgets and objectives; and networks that hold every registered
variant of a core, one layer each. Names of sections and static functions are no part of it: what is loaded is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

import tuning

FILE = Path(__file__).parents[1] / "emit" / "object_code.json"
ZIG_CPUS = {
    "cortex-m0plus": "cortex_m0plus", "cortex-m3": "cortex_m3", "cortex-m4": "cortex_m4", "cortex-m7": "cortex_m7",
    "cortex-m33": "cortex_m33+dsp",
}  # fmt: skip
CORES = tuple(ZIG_CPUS)
LOADED, CODE = 2, 4  # flags of a section: SHF_ALLOC, SHF_EXECINSTR
CLANG = ("-target", "thumb-freestanding-eabi", "-fno-sanitize=undefined", "-fomit-frame-pointer", "-g0", "-mthumb")
SHIPPED = (
    "autoencoder", "cifar10", "cifar10_cmsis", "digits", "ds_cnn_l", "ds_cnn_m", "ds_cnn_s", "lenet5",
    "mobilenet_v1_025", "resnet8",
)  # fmt: skip
BOARDS = {
    "b-u585i-iot02a": ("cifar10", "mobilenet_v1_025"), "nrf52840dk": ("ds_cnn_m", "resnet8"),
    "nucleo-f746zg": ("cifar10", "lenet5"), "nucleo-l4r5zi": ("autoencoder", "cifar10"),
    "rp2040": ("digits", "ds_cnn_l"), "rp2350": ("ds_cnn_s", "lenet5"), "stm32f4-discovery": ("digits", "resnet8"),
}  # fmt: skip
BUDGETS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(("cifar10", core, {"sram_bytes": 26634}) for core in CORES),
    ("cifar10", "cortex-m4", {"sram_bytes": 48 * 1024, "flash_bytes": 128 * 1024}),
    ("cifar10", "cortex-m7", {"sram_bytes": 20000, "flash_bytes": 110000}),
    ("cifar10", "cortex-m4", {"objective": "sram"}),
    ("cifar10", "cortex-m33", {"objective": "balanced", "pareto": True}),
    ("cifar10_cmsis", "cortex-m3", {"sram_bytes": 15000, "flash_bytes": 90000}),
    ("cifar10_cmsis", "nucleo-l4r5zi", {"sram_bytes": 30000, "flash_bytes": 50000}),
    ("digits", "cortex-m0plus", {"sram_bytes": 600, "flash_bytes": 7000}),
    ("digits", "cortex-m4", {"objective": "flash"}),
    ("digits", "cortex-m7", {"clock_hz": 400_000_000, "sram_bytes": 800}),
    ("ds_cnn_l", "cortex-m7", {"flash_bytes": 450000}),
    ("ds_cnn_s", "cortex-m0plus", {"objective": "balanced"}),
    ("ds_cnn_s", "cortex-m4", {"sram_bytes": 17100, "flash_bytes": 33000}),
    ("lenet5", "cortex-m0plus", {"objective": "flash"}),
    ("mobilenet_v1_025", "cortex-m33", {"sram_bytes": 83500, "flash_bytes": 256 * 1024}),
    ("resnet8", "cortex-m3", {"objective": "sram"}),
    ("resnet8", "cortex-m4", {"sram_bytes": 40000, "flash_bytes": 100000}),
    ("odd", "cortex-m3", {"objective": "sram"}),
    ("q15", "cortex-m4", {"objective": "sram"}),
    ("q15", "cortex-m0plus", {"objective": "flash"}),
)


def conv(name: str, out: int, kernel: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "op": "conv2d", "out_channels": out, "kernel": kernel, **more}


def pool(name: str, kind: str, kernel: list[int]) -> dict[str, Any]:
    return {"name": name, "op": f"{kind}_pool2d", "kernel": kernel, "stride": 1, "padding": "same"}


SMALL: dict[str, tuple[str, list[int], list[dict[str, Any]]]] = {
    "q15": (
        "q15",
        [13, 11, 3],
        [
            {"name": "first", "op": "relu"},
            conv("conv1", 8, 3, padding=1, bias_shift=3, out_shift=14, activation="relu"),
            {"name": "pool1", "op": "max_pool2d", "kernel": 3, "stride": 2, "ceil_mode": True},
            {"name": "dw", "op": "depthwise_conv2d", "kernel": 3, "padding": "same", "bias_shift": 5, "out_shift": 15},
            conv("conv2", 12, [3, 2], bias_shift=2, out_shift=15),
            {"name": "squash", "op": "tanh", "int_bits": 3},
            {"name": "pool2", "op": "avg_pool2d", "kernel": 2},
            conv("point", 6, 1, out_shift=15),
            {"name": "gate", "op": "sigmoid", "int_bits": 1},
            {"name": "fc1", "op": "fully_connected", "out_features": 20, "weights_dtype": "q7", "out_shift": 8},
            {"name": "fc2", "op": "fully_connected", "out_features": 9, "out_shift": 15},
            {"name": "prob", "op": "softmax"},
        ],
    ),
    "odd": (
        "q7",
        [15, 10, 5],
        [
            {"name": "first", "op": "relu"},
            conv("conv1", 7, [3, 5], stride=[2, 1], padding=[1, 2], out_shift=9, variant={"fused_pool": True}),
            {"name": "pool1", "op": "avg_pool2d", "kernel": 2, "stride": 1, "padding": 1},
            {"name": "dw", "op": "depthwise_conv2d", "kernel": 5, "padding": 2, "bias_shift": 2, "out_shift": 8},
            {"name": "gate", "op": "sigmoid", "int_bits": 3},
            conv("conv2", 9, 7, padding=3, out_shift=10, activation="relu"),
            {"name": "pool2", "op": "max_pool2d", "kernel": [3, 2], "stride": 2, "ceil_mode": True},
            {"name": "fc", "op": "fully_connected", "out_features": 11, "bias_shift": 3, "out_shift": 8},
            {"name": "last", "op": "relu"},
        ],
    ),
}
"""Type, input shape and layers of what the shipped networks lack: q15, tables between layers, odd sizes."""

PROBES: dict[str, tuple[str, list[int], tuple[dict[str, Any], ...]]] = {
    f"{op} {dtype}{' weights q7' if more else ''}": (dtype, shape, tuple({**layer, **more} for layer in layers))
    for op, shape, layers in (
        ("conv2d", [6, 6, 4], (conv("a", 4, 3, padding=1, out_shift=9), conv("a", 4, 1, out_shift=9))),
        ("depthwise_conv2d", [7, 6, 3], ({"op": "depthwise_conv2d", "kernel": 3, "padding": 1, "out_shift": 8},)),
        ("fully_connected", [21], ({"op": "fully_connected", "out_features": 21, "out_shift": 9},)),
    )
    for dtype, more in (("q7", {}), ("q15", {}), ("q15", {"weights_dtype": "q7"}))
    if op == "fully_connected" or not more
}  # fmt: skip
"""Layers whose output has the shape of their input: any number of them is a network, each pinned to a variant. What
the first of several cannot be is looked for on the next.
"""
TOGETHER = 40
"""Variants of one network."""


@dataclass(frozen=True)
class Case:
    """One plan: a shipped model, or a model file's content, on a target."""

    model: str
    target: str
    how: Mapping[str, Any] = field(default_factory=dict)
    content: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return " ".join([self.model, self.target, *(f"{key}={value}" for key, value in self.how.items())])

    def plan(self) -> tuning.Plan:
        model = tuning.load_model(self.model) if self.content is None else _load(self.content)
        # The same whatever compiler is installed.
        return tuning.tune(model, tuning.load_target(self.target), compiled=False, **self.how)


def _load(content: Any) -> tuning.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return tuning.load_model(path)


def _content(name: str, dtype: str, shape: list[int], layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schema": 1, "name": name, "input": {"shape": shape, "dtype": dtype}, "layers": layers}


@cache
def cases() -> dict[str, Case]:
    """Every case by its name."""
    found = [Case(model, core) for model in SHIPPED for core in CORES]
    found += [Case(model, board) for board, models in BOARDS.items() for model in models]
    small = {name: _content(name, *network) for name, network in SMALL.items()}
    found += [Case(name, core, content=content) for name, content in small.items() for core in CORES]
    found += [Case(model, target, how, small.get(model)) for model, target, how in BUDGETS]
    found += [case for core in CORES for probe in PROBES for case in variant_cases(probe, core)]
    assert len({str(case) for case in found}) == len(found)
    return {str(case): case for case in found}


@lru_cache(maxsize=64)
def plan_of(name: str) -> tuning.Plan:
    return cases()[name].plan()


def variant_cases(probe: str, core: str) -> Iterator[Case]:
    """Networks that together hold every variant of an operation that a core has."""
    dtype, shape, layers = PROBES[probe]
    rest: dict[Any, list[dict[str, Any]]] = {}
    for layer in layers:
        # With a pooling behind it, so that there are variants which take it in.
        behind = [pool("b", "max", [3, 3])] if len(shape) == 3 else []
        content = _content("probe", dtype, shape, [{**layer, "name": "a"}, *behind])
        for variant in Case("probe", core, content=content).plan().tables[0].variants:
            rest.setdefault(variant, [layer])
    pinned: list[list[dict[str, Any]]] = []
    for number, (variant, [layer]) in enumerate(sorted(rest.items(), key=lambda item: str(item[0]))):
        mine = [{**layer, "name": f"n{number}", "variant": asdict(variant)}]
        if variant.fused_pool:
            # No two alike: a kernel that two layers share is not taken in.
            at = number % TOGETHER
            mine += [pool(f"p{number}", ("max", "avg")[at % 2], [1 + at % 6, 1 + at // 6])]
        pinned.append(mine)
    for first in range(0, len(pinned), TOGETHER):
        network = [spec for specs in pinned[first : first + TOGETHER] for spec in specs]
        yield Case(f"variants {probe} {first // TOGETHER}", core, content=_content("variants", dtype, shape, network))


# ---------------------------------------------------------------- compact forms


def _digest(*content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def plan_form(plan: tuning.Plan) -> str:
    """Cycles, SRAM and flash, and digests: of the choices, of all figures, of where everything lies."""
    content = plan.to_dict()
    layers, totals = content["layers"], content["totals"]
    choices = [(layer["name"], layer["variant"], layer["fused_into"]) for layer in layers]
    figures = ("cycles", "terms", "baseline_cycles", "scratch_bytes", "flash_bytes", "runner_up")
    places = ("input_offset", "output_offset", "scratch_offset")
    digests = (
        _digest(choices),
        _digest(totals, content.get("pareto"), *([layer[key] for key in figures] for layer in layers)),
        _digest(content["memory_map"], *([layer[key] for key in places] for layer in layers)),
    )
    return " ".join([*(str(totals[key]) for key in ("cycles", "sram_bytes", "flash_bytes")), *digests])


@cache
def compiler_version(compiler: str) -> str | None:
    """What the compiler says of itself; None if it is not here."""
    command = _command(compiler)
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].strip() if not done.returncode else None


def _command(compiler: str) -> list[str]:
    return ["arm-none-eabi-gcc"] if compiler == "gcc" else [sys.executable, "-m", "ziglang", "cc"]


def object_form(plan: tuning.Plan, compiler: str, folder: Path) -> str:
    """Bytes of code, of constants and data, and a digest of all that would be loaded, of the emitted ``<model>.c``."""
    tuning.emit(plan, folder)
    core, output = plan.target.core, folder / "object.o"
    # Clang has no first scheduling pass that would have to be switched off.
    flags = [flag for flag in plan.cflags if compiler == "gcc" or flag != "-fno-schedule-insns"]
    own = (f"-mcpu={core}", "-mthumb") if compiler == "gcc" else (*CLANG, f"-mcpu={ZIG_CPUS[core]}")
    command = [*_command(compiler), *own, *flags, f"-I{folder}", "-c", str(folder / f"{plan.model}.c")]
    done = subprocess.run([*command, "-o", str(output)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return loaded_form(output)


def loaded_form(path: Path) -> str:
    """Sizes and a digest of the sections that are loaded: kind, data and relocations, without names, in any order."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.relocation import RelocationSection

    with path.open("rb") as stream:
        elf = ELFFile(stream)
        everything = [*elf.iter_sections()]
        symbols = [*elf.get_section_by_name(".symtab").iter_symbols()]
        own: dict[int, str] = {}
        sizes = [0, 0]
        for at, section in enumerate(everything):
            if section["sh_flags"] & LOADED and section["sh_size"]:
                head = [section[key] for key in ("sh_type", "sh_flags", "sh_addralign", "sh_size")]
                data = b"" if section["sh_type"] == "SHT_NOBITS" else section.data()
                own[at] = _digest(head, hashlib.sha256(data).hexdigest())
                sizes[not section["sh_flags"] & CODE] += section["sh_size"]
        relocations: dict[int, list[object]] = {at: [] for at in own}
        for section in everything:
            if isinstance(section, RelocationSection) and section["sh_info"] in own:
                for item in section.iter_relocations():
                    symbol = symbols[item["r_info_sym"]]
                    target = own.get(symbol["st_shndx"], symbol.name), symbol["st_value"]
                    relocations[section["sh_info"]].append((item["r_offset"], item["r_info_type"], target))
    digest = _digest(sorted(_digest(own[at], relocations[at]) for at in own))
    return f"{sizes[0]} {sizes[1]} {digest}"


@cache
def stored() -> dict[str, Any]:
    """The committed file: ``compilers``, their versions; ``cases``, name -> form of the plan, then of each object."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def main() -> None:
    """Write the committed file; every compiler has to be here."""
    compilers = {compiler: compiler_version(compiler) for compiler in ("gcc", "clang")}
    if None in compilers.values():
        sys.exit(f"expected both compilers, got {compilers}")
    lines = []
    for name in cases():
        plan = plan_of(name)
        with tempfile.TemporaryDirectory() as folder:
            forms = [plan_form(plan), *(object_form(plan, compiler, Path(folder)) for compiler in compilers)]
        lines.append(f"{json.dumps(name)}: {json.dumps(forms)}")
        print(lines[-1], flush=True)
    text = ",\n".join(lines)
    text = f'{{"compilers": {json.dumps(compilers)},\n"cases": {{\n{text}\n}}}}\n'
    FILE.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
