# SPDX-License-Identifier: Apache-2.0
"""The firmware folder: emitted C, an example, the report and the plan, as text and on disk."""

from __future__ import annotations

import os
from pathlib import Path

from .base.files import check_replaced
from .plan import Plan


def render(plan: Plan) -> dict[str, str]:
    """The firmware folder as text.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    dict of str to str
        Path relative to the folder -> text; equal plans give equal text. ``plan.json`` is the last entry.

    Raises
    ------
    EmitError
        A name cannot be a C identifier, or a buffer does not lie where the kernels expect it.
    """
    from .emit.example import build, vectors
    from .emit.project import project
    from .emit.text import render_template, sources
    from .report import render_report

    m = project(plan)
    how = build(plan)
    given, wanted = vectors(plan)
    arrays = list(zip((*m.inputs, *m.outputs), (*given, *wanted), strict=True))
    return {
        **sources(m),
        "CMakeLists.txt": render_template("CMakeLists.txt.j2", m),
        "README.md": render_template("README.md.j2", m, build=how),
        "example/main.c": render_template("example/main.c.j2", m, build=how),
        "example/memory.ld": render_template("example/memory.ld.j2", m, build=how),
        "example/profile.h": render_template("example/profile.h.j2", m),
        "example/vectors.h": render_template("example/vectors.h.j2", m, vectors=arrays),
        "library.json": render_template("library.json.j2", m, build=how),
        "library.properties": render_template("library.properties.j2", m),
        "zephyr/module.yml": render_template("zephyr/module.yml.j2", m),
        "report.html": render_report(plan),
        "plan.json": plan.to_json(),
    }


def check_folder(model: str, directory: str | os.PathLike[str]) -> None:
    """Of `emit_plan`'s refusal what can be told before there is a plan: files that projects have.

    Raises
    ------
    OptionError
        Others wrote some of them.
    """
    from .emit.writer import files_of_others

    names = ("README.md", "CMakeLists.txt", "library.json", "example/main.c", f"{model}.c", f"{model}.h", "plan.json")
    check_replaced("--output", files_of_others(dict.fromkeys(names, ""), directory))


def emit_plan(plan: Plan, directory: str | os.PathLike[str], *, force: bool = False) -> list[Path]:
    """Write the firmware folder.

    Beside the text of `render` it holds the model's own weights and the ``.tflite`` file that it came from, which
    ``cmsisnn-verify`` compares with. Files of this tool are replaced one by one by atomic rename, ``plan.json`` last;
    files it did not write stay.

    Parameters
    ----------
    plan : Plan
    directory : path
        Made if it does not exist.
    force : bool, optional
        Replace files of the same names that others wrote, too.

    Returns
    -------
    list of pathlib.Path
        The files, in the order written.

    Raises
    ------
    OptionError
        Files that others wrote are where some would go: nothing was written.
    """
    from .emit.names import archive_name, source_name
    from .emit.weights import weights_archive
    from .emit.writer import files_of_others, write_files

    texts = render(plan)
    last = {"plan.json": texts.pop("plan.json")}
    weights = weights_archive(plan)
    own = {archive_name(plan.model): weights, source_name(plan.model): plan.source}
    given = {name: content for name, content in own.items() if content is not None}
    files: dict[str, str | bytes] = {**texts, **given, **last}
    if not force:
        check_replaced("--output", files_of_others(files, directory))
    return write_files(files, directory)
