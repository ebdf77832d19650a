# SPDX-License-Identifier: Apache-2.0
"""Make pricing.zip: pricing.c compiled by GCC and Clang for every core, and what a reference pricer says of it.

    python make_pricing.py cycles.py

Needs arm-none-eabi-gcc and its binutils. The reference is a script with a class ``Sim(elf, core number)`` whose
``call(name, args)`` returns instructions, cycles and counts by class.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tuning.emulate import find_toolchain

HERE = Path(__file__).resolve().parent
CORE_NUMBERS = {"cortex-m0plus": 0, "cortex-m3": 3, "cortex-m4": 4, "cortex-m7": 7, "cortex-m33": 33}
BUILDS = (("gcc", "-O3", ()), ("gcc", "-Os", ("-ffunction-sections",)), ("clang", "-O2", ()))
CALLS = (
    ("dot_q7", ["bytes", 256]),
    ("dot_q15", ["halves", 200]),
    ("divide", [1_000_003, 17]),
    ("wide", [60]),
    ("branches", ["words", 400]),
    ("structures", [20]),
    ("fibonacci", [9]),
    ("stores", ["bytes", 150]),
    ("six", [1, 2, 3, 4, 5, 6]),
    ("assembly", ["words", 40]),
    ("floating", ["words", 50]),
)


def reference(path: str):
    spec = importlib.util.spec_from_file_location("reference_pricer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Sim


def main(path: str) -> None:
    simulate = reference(path)
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(HERE / "pricing.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
    ):
        expected = {}
        for core, number in CORE_NUMBERS.items():
            for kind, level, more in BUILDS:
                name = f"{core}-{kind}{level}.elf"
                elf = Path(folder) / name
                fpu = ["-mfloat-abi=softfp", "-mfpu=fpv4-sp-d16"] if level == "-O3" and number in (4, 7, 33) else []
                find_toolchain(kind).build([HERE / "pricing.c"], elf, core, cflags=[level, *fpu, *more])
                subprocess.run(["arm-none-eabi-strip", "--strip-debug", str(elf)], check=True)
                archive.write(elf, name)
                expected[name] = {}
                for function, args in CALLS:
                    simulator = simulate(str(elf), number)
                    if function in simulator.sym:
                        words = [simulator.sym[arg] if isinstance(arg, str) else arg for arg in args]
                        instructions, cycles, counts = simulator.call(function, words)
                        expected[name][function] = {
                            "args": args,
                            "instructions": instructions,
                            "cycles": cycles,
                            "counts": dict(sorted(counts.items())),
                        }
        archive.writestr("expected.json", json.dumps(expected, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
