# SPDX-License-Identifier: Apache-2.0
"""Expand a Tempita template: ``python tempita.py template.pyx.tp output.pyx`` (a build step)."""

import sys
from pathlib import Path

from Cython.Tempita import sub


def main(template: str, output: str) -> None:
    source = Path(template)
    Path(output).write_text(sub(source.read_text(encoding="utf-8"), __name=source.name), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
