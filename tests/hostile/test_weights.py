# SPDX-License-Identifier: Apache-2.0
"""npz archives that are damaged, crafted, or somebody else's."""

from __future__ import annotations

import gzip
import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.forked import Ended, ForkServer

MODEL = (
    "schema: 1\nname: net\ninput: {shape: [8, 8, 4], dtype: q7}\nweights: w.npz\n"
    "layers:\n  - {name: c, op: conv2d, out_channels: 6, kernel: 3, padding: 1, out_shift: 7}\n"
)
GOOD = np.arange(-108, 108).astype(np.int8).reshape(6, 3, 3, 4)
W = "c/weights.npy"


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def crafted(header: str, version: bytes = b"\1\0", data: bytes = bytes(216)) -> bytes:
    """An .npy whose header says what one likes."""
    size = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + header.encode("latin1") + data


def shaped(shape: str, descr: str = "'|i1'") -> bytes:
    return archive((W, crafted(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")))


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(stream, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
    return stream.getvalue()


def damaged(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


WHOLE = archive((W, npy(GOOD)))
ENCRYPTED = damaged(damaged(WHOLE, 6, b"\1"), WHOLE.find(b"PK\1\2") + 8, b"\1")
NOISE = bytes(range(60, 90))

ARCHIVES: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "empty": (b"", "not a zip file"),
    "no arrays": (archive(), "array 'c/weights' is missing"),
    "cut short": (WHOLE[:-30], "not a zip file"),
    "a flipped bit": (damaged(WHOLE, 250, b"\x55"), "Bad CRC-32"),
    "encrypted": (ENCRYPTED, "encrypted"),
    "deflate damaged": (damaged(archive((W, npy(GOOD)), method=zipfile.ZIP_DEFLATED), 50, NOISE), "cannot be read"),
    "bzip2 damaged": (damaged(archive((W, npy(GOOD)), method=zipfile.ZIP_BZIP2), 60, NOISE), "cannot be read"),
    "lzma damaged": (damaged(archive((W, npy(GOOD)), method=zipfile.ZIP_LZMA), 60, NOISE), "cannot be read"),
    "a bare npy": (npy(GOOD), "not a zip file"),
    "gzip": (gzip.compress(WHOLE), "not a zip file"),
    "a pickle": (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94.", "not a zip file"),
    "a pickle inside": (archive((W, npy(np.array([{1: 2}], object)))), "expected int8 of shape [6, 3, 3, 4], got ob"),
    "twice": (archive((W, npy(GOOD)), (W, npy(GOOD))), "expected one array of that name, got two"),
    "twice by two names": (archive((W, npy(GOOD)), ("c/weights", npy(GOOD))), "got two"),
    "upwards": (archive(("../../evil.npy", npy(GOOD))), "no layer takes the array '../../evil'"),
    "absolute": (archive(("/etc/passwd", b"x")), "no layer takes the array '/etc/passwd'"),
    "an escape as name": (archive(("\x1b[31m.npy", b"")), "no layer takes the array '\\x1b[31m'"),
    "a folder": (archive(("c/", b""), (W, npy(GOOD))), "no layer takes the array 'c/'"),
    "a bomb": (lambda: archive((W, bytes(100_000_000)), method=zipfile.ZIP_DEFLATED), "cannot be read"),
    "a bomb by another name": (
        lambda: archive(("x.npy", bytes(100_000_000)), method=zipfile.ZIP_DEFLATED), "no layer takes"
    ),
    "70,000 members": (lambda: archive(*((f"{i}.npy", b"") for i in range(70_000))), "expected at most"),
    "a quintillion elements": (shaped("(1000000000, 1000000000)"), "got int8 of shape [1000000000, 1000000000]"),
    "negative": (shaped("(-1, 3)"), "got int8 of shape [-1, 3]"),
    "a float as size": (shaped("(1e9,)"), "cannot be read"),
    "a power as size": (shaped("(9**9**9,)"), "cannot be read"),
    "5000 brackets": (shaped("(" * 5000 + ")" * 5000), "cannot be read"),
    "a structure": (shaped("(6, 3, 3, 4)", "[('a', '|i1')]"), "expected int8"),
    "objects": (shaped("(6, 3, 3, 4)", "'|O'"), "got object"),
    "no such type": (shaped("(6, 3, 3, 4)", "'zz'"), "cannot be read"),
    "a number as type": (shaped("(6, 3, 3, 4)", "5"), "cannot be read"),
    "no header": (archive((W, crafted("nonsense\n"))), "cannot be read"),
    "an unclosed header": (archive((W, crafted("{'descr': '<i2', 'shape': (6, 3, } der': (6,\n"))), "cannot be read"),
    "a header of 60 KB": (archive((W, crafted(" " * 60_000))), "cannot be read"),
    "a header of 4 GB": (archive((W, b"\x93NUMPY\2\0\xff\xff\xff\xff")), "cannot be read"),
    "version 9": (archive((W, crafted("{}\n", b"\x09\0"))), "npy version 9.0"),
    "too few bytes": (archive((W, npy(GOOD)[:-100])), "got fewer than its 216 bytes"),
    "too many bytes": (archive((W, npy(GOOD) + b"x")), "got more than its 216 bytes"),
    "floats": (archive((W, npy(GOOD.astype(float)))), "got float64"),
    "NaN": (archive((W, npy(np.full(GOOD.shape, np.nan)))), "got float64"),
    "wide integers": (archive((W, npy(GOOD.astype(np.int64)))), "got int64"),
    "text": (archive((W, npy(np.array(["a"])))), "got <U1"),
    "dates": (archive((W, npy(np.array(["2020"], "M8[D]")))), "got datetime64"),
    "a bias of another shape": (archive((W, npy(GOOD)), ("c/bias.npy", npy(np.zeros((6, 1), np.int8)))), "c/bias"),
    "a bias of no shape": (archive((W, npy(GOOD)), ("c/bias.npy", npy(np.int8(3)))), "c/bias"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_bad_archive_is_refused(refuse: Callable[..., Ended], box: Path, name: str) -> None:
    data, says = ARCHIVES[name]
    (box / "m.yaml").write_text(MODEL)
    (box / "w.npz").write_bytes(data() if callable(data) else data)
    message = refuse("cmsisnn-tune", "m.yaml", says=says).err
    assert message.startswith("error: m.yaml:4: weights: w.npz: ")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_good_archive_is_read_whatever_its_compression(server: ForkServer, box: Path, method: int) -> None:
    (box / "m.yaml").write_text(MODEL)
    (box / "w.npz").write_bytes(archive((W, npy(np.asfortranarray(GOOD))), method=method))
    ended = server.run("cmsisnn-tune", "m.yaml", "-q", cwd=box)
    assert (ended.status, ended.err) == (0, "")
