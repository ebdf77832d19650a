# SPDX-License-Identifier: Apache-2.0
"""What Jinja makes of templates is kept, and never outlives them."""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2
import pytest

from tuning.base.templates import environment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a template, beside a place for what is made of it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "kept"))
    found = tmp_path / "templates"
    found.mkdir()
    (found / "greeting.j2").write_text("Hello {{ name }}\n", encoding="utf-8")
    return found


def text_of(folder: Path) -> str:
    return environment(folder).get_template("greeting.j2").render(name="you")


def test_a_template_is_compiled_once_and_again_when_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    own = jinja2.Environment.compile

    def compile_counted(self: jinja2.Environment, source: str, *more: object) -> object:
        compiled.append(source)
        return own(self, source, *more)

    monkeypatch.setattr(jinja2.Environment, "compile", compile_counted)
    assert [text_of(folder), text_of(folder)] == ["Hello you\n"] * 2
    assert len(compiled) == 1
    (folder / "greeting.j2").write_text("Bye {{ name }}\n", encoding="utf-8")
    assert text_of(folder) == "Bye you\n"
    (kept,) = (path for path in (folder.parent / "kept").rglob("*.pyc"))
    kept.write_bytes(b"no code")
    assert text_of(folder) == "Bye you\n"
    assert len(compiled) == 3


def test_what_cannot_be_kept_is_compiled_each_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "kept").write_text("a file", encoding="utf-8")
    assert [text_of(folder), text_of(folder)] == ["Hello you\n"] * 2
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", str(folder.parent / "other"))
    assert text_of(folder) == "Hello you\n"
    assert not (folder.parent / "other").exists()
