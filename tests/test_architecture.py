# SPDX-License-Identifier: Apache-2.0
"""Which module may import which: arrows point downwards, and what touches the world lies where one looks for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the bottom up; a module may import its own layer and those before it, also inside functions.
LAYERS = (
    ("errors", "files", "choices", "cflags", "names", "units", "shipped", "memory", "pareto", "_yaml", "drawn"),
    ("target", "weights_file", "model_schema", "record"),
    ("model", "space", "plan_file", "plan"),
    ("cost", "emulate", "emit", "search", "planner", "quantize", "measure"),
    ("workers", "whole", "emulated", "calibrate"),
    ("tuner",),
    ("explain", "paper", "check", "arm", "report"),
    ("terminal", "live", "pareto_table", "program"),
    ("commands",),
    ("cli", "verify", "__main__"),
)
# The emitted folder contains the report; quantize.terminal is quantize's own place for printing.
UPWARDS = {("emit", "report"), ("quantize", "terminal"), ("quantize", "program")}
RUNS_PROGRAMS = ("subprocess", "multiprocessing", "unicorn", "pty")
LONGEST = 600  # lines; 500 is what we aim at
WITH_REASON: dict[str, str] = {}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted([*ROOT.glob("cmsisnn_x/**/*.py"), *ROOT.glob("tuning/**/*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[tuple[str, bool]]:
    """(imported module, whether at import time); what only type checkers see does not count."""
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
                base = ".".join([*above, *([child.module] if child.module else [])])
                for alias in child.names:
                    full = f"{base}.{alias.name}"
                    compiled = (ROOT / full.replace(".", "/")).with_suffix(".pyx").exists()
                    yield (full if full in modules() or compiled else base), at_import
            yield from walk(child, at_import and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return frozenset(walk(ast.parse(path.read_text(encoding="utf-8")), True))


def part(module: str) -> str:
    """The second component: ``tuning.cost.base`` belongs to ``cost``."""
    return module.partition(".")[2].partition(".")[0]


def test_the_reader_of_imports_reads_them() -> None:
    assert ("tuning.target", True) in imports("tuning.space")
    assert ("tuning.model_schema", False) in imports("tuning.model")
    assert ("tuning.emit.check", True) in imports("tuning.emit")
    assert ("numpy", True) in imports("cmsisnn_x.ops")


def test_the_kernels_do_not_know_the_tuner() -> None:
    wrong = {module: name for module in modules() for name, _ in imports(module)
             if module.startswith("cmsisnn_x") and name.split(".")[0] == "tuning"}  # fmt: skip
    assert not wrong


def test_arrows_point_downwards() -> None:
    rank = {name: index for index, names in enumerate(LAYERS) for name in names}
    wrong = []
    for module in modules():
        for name, _ in imports(module):
            here, there = part(module), part(name)
            if not (module.startswith("tuning.") and name.startswith("tuning.")) or (here, there) in UPWARDS:
                continue
            if rank.get(there, 0) > rank.get(here, len(LAYERS)):
                wrong.append(f"{module} -> {name}")
    assert not wrong


def test_imports_have_no_cycle() -> None:
    graph = {
        module: {name for name, at_import in imports(module) if at_import and name in modules() and name != module}
        for module in modules()
    }
    # A package's __init__ gathers its modules: those that import the package for its own sake would be the cycle.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(" -> ".join(cycle.args[1]))


def test_emission_sees_a_plan_and_nothing_that_made_it() -> None:
    for module in modules():
        if part(module) == "emit":
            seen = {part(name) for name, _ in imports(module) if name.startswith("tuning")}
            assert seen <= {"", "emit", "plan", "names", "errors", "choices", "cflags", "files", "report"}, module


def test_the_cost_model_does_no_io() -> None:
    """But for its own coefficients, which `fitted` reads from the package."""
    for module in modules():
        if part(module) == "cost" and module != "tuning.cost.fitted":
            names = {name.split(".")[0] for name, _ in imports(module)}
            assert not names & {"os", "io", "pathlib", "shutil", "tempfile", "sqlite3", *RUNS_PROGRAMS}, module
            assert "open(" not in modules()[module].read_text(encoding="utf-8").replace("_open(", ""), module


def test_only_the_emulator_and_its_workers_run_programs() -> None:
    for module, path in modules().items():
        if part(module) not in ("emulate", "workers"):
            assert not {name.split(".")[0] for name, _ in imports(module)} & set(RUNS_PROGRAMS), module
            assert "os.system" not in path.read_text(encoding="utf-8"), module


def test_no_module_is_longer_than_it_needs() -> None:
    lengths = {module: path.read_text(encoding="utf-8").count("\n") for module, path in modules().items()}
    assert {module: length for module, length in lengths.items() if length > LONGEST}.keys() <= WITH_REASON.keys()


def loaded_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after `code`."""
    code += "\nimport sys\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in ran.stderr.split()}


CALL = """
import sys
sys.argv = {arguments!r}
from {program} import main
try:
    main()
except SystemExit:
    pass
"""
HEAVY = {
    "skopt",
    "sklearn",
    "scipy",
    "unicorn",
    "capstone",
    "elftools",
    "joblib",
    "dask",
    "matplotlib",
    "onnx",
    "pandas",
}


@pytest.mark.parametrize("program", ["tuning.cli", "tuning.verify", "tuning.quantize.cli"])
def test_help_loads_nothing_heavy(program: str) -> None:
    assert not loaded_after(CALL.format(arguments=["x", "--help"], program=program)) & (HEAVY | {"jinja2", "yaml"})


TWINS = """schema: 1
name: twins
input: {shape: [8, 8, 4]}
layers:
  - {name: a, op: conv2d, out_channels: 4, kernel: 3, padding: 1, out_shift: 7}
  - {name: b, op: conv2d, out_channels: 4, kernel: 3, padding: 1, out_shift: 7}
  - {name: c, op: conv2d, out_channels: 4, kernel: 3, padding: 1, out_shift: 7}
  - {name: d, op: conv2d, out_channels: 4, kernel: 3, padding: 1, out_shift: 7}
"""


@pytest.mark.parametrize("model", ["cifar10", "twins.yaml"])
def test_tuning_without_a_budget_loads_no_solver(tmp_path: Path, model: str) -> None:
    """Layers that share kernels are no reason for one either."""
    (tmp_path / "twins.yaml").write_text(TWINS)
    path = model if model == "cifar10" else str(tmp_path / model)
    code = CALL.format(arguments=["x", path, "-q", "-o", str(tmp_path / "out")], program="tuning.cli")
    assert not loaded_after(code) & HEAVY
    assert (tmp_path / "out" / "plan.json").is_file()
