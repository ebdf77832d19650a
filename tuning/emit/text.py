# SPDX-License-Identifier: Apache-2.0
"""The files of the firmware folder: templates filled in, and the headers of the kernels that it uses."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import cmsisnn_x

from .cgen import WHOLE_FUNCTION, array_declare, macros
from .project import Project

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> jinja2.Environment:
    """C and its company; the report has its own environment, which escapes for HTML."""
    from ..base import templates

    env = templates.environment(TEMPLATES)
    env.globals.update(macros=macros, array_declare=array_declare, WHOLE_FUNCTION=WHOLE_FUNCTION)
    return env


def render_template(name: str, m: Project, **more: object) -> str:
    return environment().get_template(name).render(m=m, **more)


@cache
def library_header(name: str) -> str:
    return (Path(cmsisnn_x.get_include()) / "cmsisnn_x" / name).read_text(encoding="utf-8")


def library_headers(roots: Iterable[str]) -> dict[str, str]:
    """The kernel headers `roots` and all that they include, as file name -> text, sorted."""
    found: dict[str, str] = {}
    todo = sorted(set(roots))
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = library_header(name)
            beside = re.findall(r'^\s*#\s*include\s+"([^"]+)"', found[name], re.MULTILINE)
            todo += [posixpath.normpath(posixpath.join(posixpath.dirname(name), other)) for other in beside]
    return dict(sorted(found.items()))


def sources(m: Project) -> dict[str, str]:
    """What the compiler reads of the firmware folder: path relative to it -> text."""
    headers = library_headers([*(kernel.header for kernel in m.kernels), *(["chain.h"] if m.chains else [])])
    return {
        **{f"cmsisnn_x/{header}": text for header, text in headers.items()},
        f"{m.name}_config.h": render_template("config.h.j2", m),
        f"{m.name}_weights.h": render_template("weights.h.j2", m),
        f"{m.name}.h": render_template("model.h.j2", m),
        f"{m.name}.c": render_template("model.c.j2", m),
    }
