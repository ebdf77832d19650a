# SPDX-License-Identifier: Apache-2.0
"""Which module may import which: arrows point downwards, and what touches the world lies where one looks for it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from helpers.samples import one_in

ROOT = Path(__file__).resolve().parents[1]

# From the bottom up: a module imports from its own room and from those below, wherever the import stands: at the top,
# in a function, for type checkers. Rooms are the folders and modules right below `tuning` and `cmsisnn_x`.
KERNELS = (
    "errors", "_version", "_checkout", "_tables", "isa", "scheme", "affine", "variant", "op", "layers",
    "described", "_arguments", "packing_lanes", "single_rounding", "channels", "packing_dense", "packing",
    "operands", "buffers", "bands", "graph", "windows", "shared_rings", "chain", "chained", "steps", "blocks", "arena",
    "registry", "checks",
    "interleave", "study", "network", "ops", "int8", "cmsis", "_config", "_build", "__init__",
)  # fmt: skip
TUNER = (
    "base", "target", "model", "schemas", "importers", "load", "quantize", "cost", "emulate", "plan", "emit", "measure",
    "search", "tuner", "calibrate", "check", "arm", "paper", "report", "firmware", "cli", "__init__", "__main__",
)  # fmt: skip
RUNS_PROGRAMS = ("subprocess", "multiprocessing", "unicorn", "pty")
LONGEST = 500  # lines


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted([*ROOT.glob("cmsisnn_x/**/*.py"), *ROOT.glob("tuning/**/*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[tuple[str, bool]]:
    """(imported module, whether at import time); what only type checkers see counts, but not as at import time."""
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            now = at_import and not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            if isinstance(child, ast.Import):
                yield from ((alias.name, now) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
                base = ".".join([*above, *([child.module] if child.module else [])])
                for alias in child.names:
                    full = f"{base}.{alias.name}"
                    compiled = (ROOT / full.replace(".", "/")).with_suffix(".pyx").exists()
                    yield (full if full in modules() or compiled else base), now
            yield from walk(child, now and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return frozenset(walk(ast.parse(path.read_text(encoding="utf-8")), True))


def arrows() -> dict[str, set[str]]:
    """Module -> modules of ours that it imports, at whatever time."""
    return {
        module: {name for name, _ in imports(module) if name in modules() and name != module} for module in modules()
    }


def part(module: str) -> str:
    """The room: ``tuning.cost.fitted`` belongs to ``cost``, ``tuning`` itself to ``__init__``."""
    return module.partition(".")[2].partition(".")[0] or "__init__"


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Arrows to a room above; a module in no room is one too."""
    floors = {"cmsisnn_x": KERNELS, "tuning": TUNER}
    wrong = []
    for module, names in graph.items():
        rooms = floors[module.partition(".")[0]]
        if part(module) not in rooms:
            wrong.append(f"{module} is in no room that this test knows")
            continue
        for name in names:
            if name.partition(".")[0] != module.partition(".")[0]:
                continue  # the kernels know no tuner: a test of its own
            if part(name) in rooms and rooms.index(part(name)) > rooms.index(part(module)):
                wrong.append(f"{module} -> {name}")
    return wrong


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, the first such circle; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def test_the_reader_of_imports_reads_them() -> None:
    assert ("tuning.target", True) in imports("tuning.search.space")
    assert ("tuning.model.schema_errors", False) in imports("tuning.model.file")
    assert ("tuning.emit.check", True) in imports("tuning.emit")
    assert ("tuning.cost.table", False) in imports("tuning.plan.plan")
    assert ("numpy", True) in imports("cmsisnn_x.ops.weighted")


def test_a_circle_an_upward_arrow_and_an_unknown_room_are_found() -> None:
    """The tests below cannot pass by not looking: each kind of fault, added to the real arrows, is reported."""
    graph = arrows()
    assert set(circle(graph | {"tuning.base.units": {"tuning.base.console"}})) >= {"tuning.base.units"}
    assert upward(graph | {"tuning.cost.table": {"tuning.plan.plan"}}) == ["tuning.cost.table -> tuning.plan.plan"]
    assert upward(graph | {"tuning.attic.box": set()}) == ["tuning.attic.box is in no room that this test knows"]


def test_the_kernels_do_not_know_the_tuner() -> None:
    wrong = {module: name for module in modules() for name, _ in imports(module)
             if module.startswith("cmsisnn_x") and name.split(".")[0] == "tuning"}  # fmt: skip
    assert not wrong


def test_every_module_has_a_room_and_arrows_point_downwards() -> None:
    assert upward(arrows()) == []


def test_rooms_are_real() -> None:
    for package, rooms in (("cmsisnn_x", KERNELS), ("tuning", TUNER)):
        found = {part(module) for module in modules() if module.partition(".")[0] == package}
        assert set(rooms) == found, package


def test_imports_have_no_circle() -> None:
    """Whenever they happen: inside functions and for type checkers too."""
    assert " -> ".join(circle(arrows())) == ""


def folders(graph: dict[str, set[str]], package: str) -> dict[str, set[str]]:
    """The arrows between the modules and folders right below `package`, a folder as one."""

    def place(module: str) -> str:
        return ".".join(module.split(".")[: package.count(".") + 2])

    inside = {module: names for module, names in graph.items() if module.startswith(f"{package}.")}
    found: dict[str, set[str]] = {place(module): set() for module in inside}
    for module, names in inside.items():
        found[place(module)] |= {place(name) for name in names & set(inside)} - {place(module)}
    return found


def test_folders_of_a_room_have_no_circle() -> None:
    """Where a room has folders, each is read with what is below it, not with its neighbours."""
    graph = arrows()
    packages = {module for module, path in modules().items() if path.name == "__init__.py" and "." in module}
    assert {"tuning.importers", "tuning.importers.onnx", "tuning.quantize"} <= packages
    assert {package: circle(folders(graph, package)) for package in packages if circle(folders(graph, package))} == {}
    back = graph | {"tuning.quantize.affine.scales": {"tuning.quantize.graph.points"}}
    assert circle(folders(back, "tuning.quantize"))


def test_emission_sees_a_plan_and_nothing_that_made_it() -> None:
    for module in modules():
        if part(module) == "emit":
            seen = {name for name, _ in imports(module) if name.startswith("tuning")}
            others = {name for name in seen if part(name) not in ("base", "target", "emit")}
            assert others <= {"tuning.plan"}, module


def test_the_cost_model_does_no_io() -> None:
    """But for its own coefficients, which `fitted` reads from the package; nor does it ask others to."""
    for module in modules():
        if part(module) == "cost" and module != "tuning.cost.fitted":
            names = {name.split(".")[0] for name, _ in imports(module)}
            assert not names & {"os", "io", "pathlib", "shutil", "tempfile", "sqlite3", *RUNS_PROGRAMS}, module
            text = modules()[module].read_text(encoding="utf-8")
            assert not re.search(r"\b(open|load_target|load_model|read_\w+)\(", text), module


NUMBERED = r"m(?:0(?:plus|\+)?|3|4|7|23|33|35p|52|55|85)"
CORE_TEXT = re.compile(rf"cortex[-_]?m|{NUMBERED}(?!\w)", re.IGNORECASE)
CORE_NAME = re.compile(rf"(?:.*_)?(?:cortex_?)?{NUMBERED}(?:_.*)?", re.IGNORECASE)
ASKS_A_TEXT = ("startswith", "endswith", "removeprefix", "removesuffix", "match", "fullmatch", "search")


def names_of_cores(code: str) -> list[int]:
    """Lines where a core's name decides, in full or short: a text that is compared, matched, looked for, or the key of
    a table; a variable or an attribute in a condition.
    """
    lines = []
    for node in ast.walk(ast.parse(code)):
        texts: list[ast.AST | None] = []
        conditions: list[ast.AST] = []
        match node:
            case ast.Compare():
                texts, conditions = [node], [node]
            case ast.MatchValue():
                texts = [node]
            case ast.Dict(keys=keys):
                texts = [*keys]
            case ast.Call(func=ast.Attribute(attr=name)) if name in ASKS_A_TEXT:
                texts = [*node.args]
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                conditions = [test]
            case ast.BoolOp():
                conditions = [node]
            case _:
                continue
        constants = [item.value for part in texts if part for item in ast.walk(part) if isinstance(item, ast.Constant)]
        inside = [item for part in conditions for item in ast.walk(part)]
        called = [item.id for item in inside if isinstance(item, ast.Name)]
        called += [item.attr for item in inside if isinstance(item, ast.Attribute)]
        is_told = any(isinstance(text, str) and CORE_TEXT.match(text) for text in constants)
        if is_told or any(CORE_NAME.fullmatch(name) for name in called):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    "code",
    [
        'core == "cortex-m4"',
        '"cortex-m0plus" != target.core',
        'core in ("cortex-m4", "cortex-m7")',
        'core not in {"cortex-m3"}',
        'match core:\n    case "cortex-m7" | "cortex-m33": pass',
        'ALIKE = {"cortex-m33": "cortex-m4"}',
        'core.startswith("cortex-m")',
        'core.endswith("m33")',
        '"m0plus" in core',
        'core.removeprefix("cortex-") in ("m0", "m0plus")',
        '{"M7": 1}[core]',
        "if target.is_m33: pass",
        "wide = 2 if on_cortex_m7 else 1",
        "m4 and fast",
        're.fullmatch("cortex-m[34]", core)',
    ],
)
def test_a_core_that_is_asked_for_by_name_is_found(code: str) -> None:
    assert names_of_cores(code)


def test_no_core_is_asked_for_by_name() -> None:
    """A name may be a default and stand in words; what depends on a core asks its row in `tuning.target.cores`."""
    assert not names_of_cores('DEFAULT = "cortex-m7"\nload_target("cortex-m4")')
    assert not names_of_cores('if m and item.m2 and "mla" != name.removeprefix("m") and "m44" in sizes: pass')
    found = {module: names_of_cores(path.read_text(encoding="utf-8")) for module, path in modules().items()
             if module != "tuning.target.cores"}  # fmt: skip
    assert {module: lines for module, lines in found.items() if lines} == {}


def test_only_the_emulator_and_its_workers_run_programs() -> None:
    for module, path in modules().items():
        if part(module) != "emulate" and module != "tuning.measure.workers":
            assert not {name.split(".")[0] for name, _ in imports(module)} & set(RUNS_PROGRAMS), module
            assert "os.system" not in path.read_text(encoding="utf-8"), module


def test_the_floor_plan_names_every_room() -> None:
    """And nothing in CONTRIBUTING is the name of a file that is not there, but what an example would add."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    plan = text[text.index("## The floor plan") : text.index("One word per idea")]
    named = {name.removesuffix("/").removesuffix(".py") for name in re.findall(r"`([\w./]+)`", plan)}
    rooms = {room for room in (*KERNELS, *TUNER) if not room.startswith("_")}
    assert rooms - named == set()
    files = {
        path.name
        for top in ("benchmarks", "cmsisnn_x", "tuning", "tests", "configs")
        for path in ROOT.glob(f"{top}/**/*")
    }
    mentioned = {Path(name).name for name in re.findall(r"`([\w./]+\.(?:py|pyx|h|c|json|md|yaml))`", text)}
    assert mentioned - files == set()


def test_pages_link_to_what_is_there() -> None:
    """Files beside them, and headings inside."""
    tops = ("benchmarks", "cmsisnn_x", "tuning", "configs")
    lost, links = [], 0
    for page in (*ROOT.glob("*.md"), *(page for top in tops for page in ROOT.glob(f"{top}/**/*.md"))):
        for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
            path, _, heading = link.partition("#")
            there, links = (page.parent / path if path else page), links + 1
            if not there.exists() or (heading and heading not in anchors(there)):
                lost.append(f"{page.relative_to(ROOT)}: {link}")
    assert links > 20
    assert lost == []


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", words).strip().lower().replace(" ", "-") for words in headings}


def test_no_module_is_longer_than_it_needs() -> None:
    lengths = {module: path.read_text(encoding="utf-8").count("\n") for module, path in modules().items()}
    assert {module: length for module, length in lengths.items() if length > LONGEST} == {}


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
    "ai_edge_litert",
    "tflite_micro",
}


@pytest.mark.parametrize("program", ["tuning.cli.main", "tuning.cli.verify", "tuning.cli.quantize"])
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


@pytest.mark.parametrize("model", one_in(2, ["cifar10", "twins.yaml"]))
def test_tuning_without_a_budget_loads_no_solver(tmp_path: Path, model: str) -> None:
    """Layers that share kernels are no reason for one either."""
    (tmp_path / "twins.yaml").write_text(TWINS)
    path = model if model == "cifar10" else str(tmp_path / model)
    code = CALL.format(arguments=["x", path, "-q", "-o", str(tmp_path / "out")], program="tuning.cli.main")
    assert not loaded_after(code) & HEAVY
    assert (tmp_path / "out" / "plan.json").is_file()
