# SPDX-License-Identifier: Apache-2.0
"""Make helium.zip: helium.c compiled by GCC and Clang, and what a reference pricer says of it on an M55 and an M85.

    python make_helium.py mve_cycles.py

Needs arm-none-eabi-gcc and what the reference needs. That is a script with a class ``Sim(elf, 55 or 85)`` whose
``call(name, args)`` returns instructions, cycles and counts by class.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path

from make_pricing import reference

from tuning.emulate import find_toolchain

HERE = Path(__file__).resolve().parent
CORES = {"cortex-m55": 55, "cortex-m85": 85}
BUILDS = (("gcc", "-O2"), ("gcc", "-Os"), ("clang", "-O2"), ("clang", "-Os"))
CALLS = (
    ("fill", []),
    ("dot8", [77]),
    ("dot8", [16]),
    ("dot8", [0]),
    ("dot16", [130]),
    ("rows", [256]),
    ("requantise", [203]),
    ("gather", [205]),
    ("scatter", [128]),
    ("interleave", [256]),
    ("choose", [200, 300]),
    ("extremes", [256]),
    ("wide", [-1234567, 21]),
    ("loops", [61]),
    ("loops", [0]),
    ("lanes", [-98765]),
)


def main(path: str) -> None:
    simulate = reference(path)
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(HERE / "helium.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
    ):
        expected: dict[str, dict[str, list[dict[str, object]]]] = {}
        for kind, level in BUILDS:
            name = f"{kind}{level}.elf"
            elf = Path(folder) / name
            find_toolchain(kind).build([HERE / "helium.c"], elf, "cortex-m55", cflags=[level, "-ffreestanding"])
            archive.write(elf, name)
            expected[name] = {}
            for core, number in CORES.items():
                simulator = simulate(str(elf), number)
                results = expected[name][core] = []
                for function, args in CALLS:
                    instructions, cycles, counts = simulator.call(function, args)
                    call = {"function": function, "args": args, "instructions": instructions, "cycles": cycles}
                    results.append({**call, "counts": dict(sorted(counts.items()))})
        archive.writestr("expected.json", json.dumps(expected, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
