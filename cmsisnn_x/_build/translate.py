# SPDX-License-Identifier: Apache-2.0
"""Translate Cython modules to C, all in one process (a build step):

``python translate.py ROOT OUTDIR DEPFILE MODULE... -X DIRECTIVE...``

A module is its path from ROOT without suffix; where there is no ``.pyx`` it is made from its Tempita template, ``.pyx.tp``. A C file for each,
and ``_cyutility.c`` with the code that they share, are written to OUTDIR. Files that stay as they are keep their time: nothing compiles them again.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from Cython.Build.SharedModule import generate_shared_module
from Cython.Compiler.Main import CompilationOptions, compile, default_options
from Cython.Compiler.Options import parse_directive_list
from Cython.Tempita import sub

SHARED = "cmsisnn_x._cyutility"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("depfile", type=Path)
    parser.add_argument("modules", nargs="+")
    parser.add_argument("-X", dest="directives", action="append", default=[])
    given = parser.parse_args()
    outdir, depfile = given.outdir.resolve(), given.depfile.resolve()
    os.chdir(given.root)  # the names of sources in tracebacks are relative to it

    directives = parse_directive_list(",".join(given.directives))
    options = CompilationOptions(
        default_options, compiler_directives=directives, include_path=["."], shared_utility_qualified_name=SHARED
    )
    names = ["_cyutility.c", *(Path(module).name + ".c" for module in given.modules)]
    with tempfile.TemporaryDirectory() as made:
        shared = {name: directives[name] for name in ("language_level", "freethreading_compatible")}
        generate_shared_module(
            CompilationOptions(
                default_options,
                compiler_directives=shared,
                module_name=SHARED,
                shared_c_file_path=f"{made}/_cyutility.c",
            )
        )
        for module, name in zip(given.modules, names[1:], strict=True):
            source = Path(module + ".pyx")
            if not source.exists():
                template = Path(module + ".pyx.tp")
                source = outdir / source.name
                source.write_text(sub(template.read_text(encoding="utf-8"), __name=template.name), encoding="utf-8")
            result = compile(
                str(source), options, full_module_name=module.replace("/", "."), output_file=f"{made}/{name}"
            )
            if result.num_errors:
                return 1
        for name in names:
            new, old = Path(made, name).read_bytes(), outdir / name
            if not old.exists() or old.read_bytes() != new:
                old.write_bytes(new)
    read = [Path(__file__), *(p for d in ("cmsisnn_x", "tuning") for p in Path(d).rglob("*.p[xy][xdi]*"))]
    outputs = " ".join(str(given.outdir / name) for name in names)
    depfile.write_text(f"{outputs}: {' '.join(str(p.resolve()).replace(' ', chr(92) + ' ') for p in read)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
