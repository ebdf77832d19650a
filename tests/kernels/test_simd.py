# SPDX-License-Identifier: Apache-2.0
"""Every instruction set that this processor runs gives the oracle's bits; others are compiled and emulated."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmsisnn_x import _simd
from cmsisnn_x._executor import Executor
from cmsisnn_x.errors import CmsisnnError
from cmsisnn_x.scheme import Pow2
from helpers.affine_cases import AffineCase, affine_cases, fixed_affine_case
from helpers.arrays import assert_bit_exact, assert_untouched, guarded
from helpers.simd_cases import OPS, SimdCase, fixed_case, simd_cases
from helpers.strategies import DTYPES

SIMD_DIR = Path(__file__).parents[2] / "cmsisnn_x" / "simd"
MAIN = Path(__file__).with_name("simd_main.c")


def check(case: SimdCase) -> None:
    for isa in _simd.available():
        out, memory = guarded(case.expected.shape, case.expected.dtype)
        case.run(_simd, out, isa)
        assert_bit_exact(out, case.expected, f"{isa} {case.op}")
        assert_untouched(memory)


@pytest.mark.parametrize("op", OPS)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_instruction_set_equals_the_oracle(op: str, data: st.DataObject) -> None:
    check(data.draw(simd_cases(op)))


@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize("out_ch", [15, 16, 17, 33, 48])
@pytest.mark.parametrize("out_w", [1, 5, 8, 13, 16, 17, 31, 33])
def test_tile_edges(dtype: str, out_ch: int, out_w: int) -> None:
    check(fixed_case("convolve", dtype, (3, out_w, 5), out_ch, (3, 3), (1, 1), (1, 1), (3, out_w)))


@pytest.mark.parametrize("fixed", [partial(fixed_case, dtype="q7"), fixed_affine_case], ids=["q7", "int8"])
@pytest.mark.parametrize("fill", ["random", "lowest", "highest", "ends"])
@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (3, 5), (4, 3), (1, 5)])
def test_windows_of_three_and_five(fixed, fill: str, kernel: tuple[int, int]) -> None:
    """Where Winograd's algorithm is used: every width up to some tiles, strides along columns, several strips."""
    first = (kernel[0] // 2, kernel[1] // 2)
    for width in range(1, 11):
        check(fixed("convolve", shape=(4, width, 48), out_ch=21, kernel=kernel, stride=(1, 1), first=first,
                    size=(4, width), fill=fill))  # fmt: skip
    for stride, size in ((1, (33, 29)), (2, (17, 29))):
        check(fixed("convolve", shape=(33, 29, 16), out_ch=24, kernel=kernel, stride=(stride, 1), first=first,
                    size=size, fill=fill))  # fmt: skip


@pytest.mark.parametrize("fixed", [partial(fixed_case, dtype="q7"), fixed_affine_case], ids=["q7", "int8"])
@pytest.mark.parametrize("fill", ["random", "lowest", "highest", "ends", "symmetric"])
@pytest.mark.parametrize("in_ch", [1, 5, 31, 32, 33, 640])
def test_one_output_pixel(fixed, fill: str, in_ch: int) -> None:
    """As fully connected layers of one sample are."""
    for out_ch in (1, 7, 8, 9, 16, 17, 24, 31, 32, 41):
        check(fixed("convolve", shape=(1, 1, in_ch), out_ch=out_ch, kernel=(1, 1), stride=(1, 1), first=(0, 0),
                    size=(1, 1), fill=fill))  # fmt: skip
        check(fixed("convolve", shape=(3, 2, in_ch), out_ch=out_ch, kernel=(3, 3), stride=(2, 2), first=(0, 1),
                    size=(1, 1), fill=fill))  # fmt: skip


@pytest.mark.parametrize("op", ["convolve", "depthwise_convolve"])
@pytest.mark.parametrize("dtype", ["q7", "q15"])
def test_images_larger_than_a_strip(op: str, dtype: str) -> None:
    """The lowered rows are bounded: this image takes several strips, the last one short."""
    out_ch = 70 if op == "depthwise_convolve" else 3
    check(fixed_case(op, dtype, (131, 41, 70), out_ch, (3, 2), (2, 1), (1, 1), (65, 41)))


@pytest.mark.parametrize("op", ["convolve", "depthwise_convolve"])
@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize("fill", ["lowest", "highest"])
def test_extremes_wrap_around(op: str, dtype: str, fill: str) -> None:
    """In q15 two products of -32768 already reach 2^31; 288 of them wrap many times."""
    check(fixed_case(op, dtype, (6, 6, 32), 32, (3, 3), (1, 1), (1, 1), (6, 6), fill))


@pytest.mark.parametrize("op", ["convolve", "depthwise_convolve"])
@pytest.mark.parametrize("dtype", ["q7", "q15"])
@pytest.mark.parametrize("fill", [-128, -7, 0, 127])
def test_padding_holds_the_fill_of_the_scheme(op: str, dtype: str, fill: int) -> None:
    """What stands for zero is up to the scheme: the sums are those of an image that was padded by hand."""
    rng = np.random.default_rng(1)
    element = DTYPES[dtype]
    info = np.iinfo(element)
    x = rng.integers(info.min, info.max, (1, 5, 9, 18), element, endpoint=True)
    shape = (3, 3, 18) if op == "depthwise_convolve" else (20, 3, 3, 18)
    weights = rng.integers(info.min, info.max, shape, element, endpoint=True)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=fill)
    requant = Pow2.of(dtype, 0, 9 if dtype == "q7" else 17)
    for isa in _simd.available():
        expected = np.empty((1, 5, 9, shape[0] if op == "convolve" else 18), element)
        got = np.empty_like(expected)
        getattr(_simd, op)(padded, weights, None, expected, 1, 1, 0, 0, requant, isa=isa)
        scheme = SimpleNamespace(**asdict(requant), fill=fill)
        getattr(_simd, op)(x, weights, None, got, 1, 1, 1, 1, scheme, isa=isa)
        assert_bit_exact(got, expected, f"{isa} {op}")


def test_long_kernel_rows() -> None:
    """One kernel row of 1000 elements: several steps, an incomplete last group."""
    for dtype in ("q7", "q15"):
        check(fixed_case("convolve", dtype, (2, 7, 333), 18, (2, 3), (1, 1), (0, 0), (1, 5)))


def test_wide_averages_are_summed_in_64_bits() -> None:
    x = np.full((1, 300, 300, 1), -32768, np.int16)
    for isa in _simd.available():
        out = np.zeros((1, 1, 1, 1), np.int16)
        _simd.avg_pool(x, out, (300, 300), (1, 1), (0, 0), isa=isa)
        assert out[0, 0, 0, 0] == -32768, isa


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_averages_truncate_towards_zero(dtype: type) -> None:
    """Every sum of seven elements that a quotient in single precision could round across an integer."""
    info = np.iinfo(dtype)
    last = np.arange(info.min, info.max + 1, dtype=dtype)
    for rest in (0, 1, -1, info.min, info.max):
        x = np.full((1, 1, 7, last.size), rest, dtype)
        x[0, 0, 6] = last
        sums = x.astype(np.int64).sum(axis=2)
        for isa in _simd.available():
            out = np.zeros((1, 1, 1, last.size), dtype)
            _simd.avg_pool(x, out, (1, 7), (1, 1), (0, 0), isa=isa)
            assert_bit_exact(out[0, 0], (np.sign(sums) * (abs(sums) // 7)).astype(dtype)[0], isa)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_relu(dtype: type) -> None:
    x = np.arange(-100, 101).astype(dtype)
    for isa in _simd.available():
        out, memory = guarded(x.shape, dtype)
        _simd.relu(x, out, isa=isa)
        assert_bit_exact(out, np.maximum(x, 0), isa)
        assert_untouched(memory)


def run_python(code: str, isa: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"CMSISNN_X_ISA": isa, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("isa", _simd.available())
def test_environment_forces_a_path(isa: str) -> None:
    done = run_python("from cmsisnn_x import _simd; print(_simd.chosen())", isa)
    assert done.stdout.strip() == isa, done.stderr


def test_unknown_path_is_a_clear_error() -> None:
    done = run_python("from cmsisnn_x import _simd; _simd.chosen()", "sse9")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].endswith(
        f"CMSISNN_X_ISA: expected one of {', '.join(_simd.available())}, got: 'sse9', which is not built"
    )
    with pytest.raises(CmsisnnError, match=r"isa: expected one of .* got: 'sse9'"):
        Executor("sse9")


def test_packing_and_running_leak_nothing() -> None:
    resource = pytest.importorskip("resource", reason="memory use is measured on POSIX systems only")
    case = fixed_case("convolve", "q7", (8, 8, 8), 16, (3, 3), (1, 1), (1, 1), (8, 8))
    out = np.empty_like(case.expected)

    def calls(count: int) -> int:
        for _ in range(count):
            case.run(_simd, out, None)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)

    before = calls(2_000)
    # A call allocates over 4 KiB: leaking them would show 80 MiB.
    assert calls(20_000) - before < 8 * 1024


# ---- other processors, and sanitizers: simd_main.c reads cases, answers with outputs ----


@cache
def sample_cases() -> list[SimdCase | AffineCase]:
    """A few hundred cases without hypothesis' search: the program runs once."""
    cases: list[SimdCase | AffineCase] = []

    @settings(max_examples=250, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        simd_cases(samples=1),
        affine_cases(plain=True),
        affine_cases("fully_connected", rounding="float", plain=True),
    )
    def collect(one: SimdCase, other: AffineCase, dense: AffineCase) -> None:
        cases.extend((one, other, dense))

    collect()
    cases.append(fixed_case("convolve", "q7", (9, 17, 20), 37, (3, 3), (1, 1), (1, 1), (9, 17)))
    cases.append(fixed_case("convolve", "q15", (9, 17, 20), 37, (3, 3), (1, 1), (1, 1), (9, 17)))
    cases.append(fixed_affine_case("convolve", (9, 17, 20), 37, (3, 3), (1, 1), (1, 1), (9, 17)))
    for fill in ("ends", "symmetric"):
        cases.append(fixed_affine_case("convolve", (1, 1, 37), 19, (1, 1), (1, 1), (0, 0), (1, 1), fill))
        for kernel in ((3, 3), (5, 5)):
            cases.append(fixed_case("convolve", "q7", (9, 17, 16), 19, kernel, (1, 1), (1, 2), (9, 17), fill))
            cases.append(fixed_affine_case("convolve", (9, 17, 16), 19, kernel, (1, 1), (1, 2), (9, 17), fill))
    return cases


def answer(command: list[str], cases: list[SimdCase | AffineCase]) -> list[np.ndarray]:
    done = subprocess.run(command, input=b"".join(case.message() for case in cases), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    outputs, at = [], 0
    for case in cases:
        out = np.frombuffer(done.stdout, case.expected.dtype, case.expected.size, at)
        outputs.append(out.reshape(case.expected.shape))
        at += case.expected.nbytes
    assert at == len(done.stdout)
    return outputs


def compile_program(compiler: list[str], parts: dict[str, list[str]], flags: list[str], directory: Path) -> Path:
    """simd_main.c with one object per source file and flags: {table: its flags}."""
    objects = []
    have = [f"-DSIMD_HAVE_{table.upper()}" for table in parts if table != "portable"]
    sources = {"amx": "avx512vnni.c", "avxvnni": "avx2.c", "neondot": "neon.c"}
    # With AMX's flags a file has both tables.
    tables = {table: own for table, own in parts.items() if not (table == "avx512vnni" and "amx" in parts)}
    jobs = [(SIMD_DIR / sources.get(table, f"{table}.c"), table, own) for table, own in tables.items()]
    for source, name, own in [*jobs, (SIMD_DIR / "dispatch.c", "dispatch", have), (MAIN, "main", [])]:
        objects.append(directory / f"{name}.o")
        options = [*flags, *own, f"-I{SIMD_DIR}"]
        subprocess.run([*compiler, *options, "-c", str(source), "-o", str(objects[-1])], check=True)
    program = directory / "simd_main"
    subprocess.run([*compiler, *flags, *map(str, objects), "-o", str(program)], check=True)
    return program


# Zig's spelling of -march=armv8.2-a+dotprod.
NEON = {"neondot": ["-mcpu=generic+dotprod"], "neon": [], "portable": []}


@pytest.fixture(scope="module")
def aarch64_program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs the ziglang wheel (extra: firmware) to compile for AArch64")
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("needs qemu-aarch64 (qemu-user) to run AArch64 programs")
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl"]
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-static"]
    return [emulator, str(compile_program(compiler, NEON, flags, tmp_path_factory.mktemp("aarch64")))]


@pytest.mark.full
@pytest.mark.parametrize("isa", NEON)
def test_neon_equals_the_oracle(isa: str, aarch64_program: list[str]) -> None:
    cases = sample_cases()
    for case, out in zip(cases, answer([*aarch64_program, isa], cases), strict=True):
        assert_bit_exact(out, case.expected, f"{isa} {case.op}")


AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"]
NATIVE = {
    "amx": [*AVX512, "-mamx-tile", "-mamx-int8"],
    "avx512vnni": AVX512,
    "avxvnni": ["-mavx2", "-mavxvnni"],
    "avx2": ["-mavx2"],
    "neondot": ["-march=armv8.2-a+dotprod"],
    "neon": [],
    "portable": [],
}


def test_cflags_of_a_newer_processor_leave_the_table_without_dot_products() -> None:
    """The macro that tells the tables of a file apart may be defined from the start, as with ``-march=native``."""
    compiler = shutil.which("gcc") or shutil.which("clang") or ""
    build = (SIMD_DIR.parent / "meson.build").read_text(encoding="utf-8")
    (plain,) = re.findall(r"'avx2': '(-m[a-z0-9-]+)'", build)
    command = [compiler, "-march=alderlake", "-mavx2", plain, "-E", str(SIMD_DIR / "avx2.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("needs gcc or clang for x86-64 that knows Alder Lake")
    assert re.search(r"simd_isa simd_avx2 =", done.stdout)


@pytest.fixture(scope="module")
def sanitized_program(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("gcc") or shutil.which("clang")
    directory = tmp_path_factory.mktemp("sanitized")
    flags = ["-std=c11", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    empty = directory / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    # Images that wheels are built in, and MinGW, have GCC without the libraries of its sanitizers.
    link = [compiler or "", *flags, str(empty), "-o", str(directory / "empty")]
    if compiler is None or subprocess.run(link, capture_output=True, check=False).returncode:
        pytest.skip("needs gcc or clang with AddressSanitizer")
    tables = {name: NATIVE[name] for name in _simd.available()}
    return str(compile_program([compiler], tables, flags, directory))


@pytest.mark.full
@pytest.mark.parametrize("isa", _simd.available())
def test_sanitizers_find_nothing(isa: str, sanitized_program: str) -> None:
    """Arrays are exactly as large as the data here: a read beyond them stops the program."""
    cases = sample_cases()
    for case, out in zip(cases, answer([sanitized_program, isa], cases), strict=True):
        assert_bit_exact(out, case.expected, f"{isa} {case.op}")
