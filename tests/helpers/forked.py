# SPDX-License-Identifier: Apache-2.0
"""The shipped commands under a limit: each call is a fork of one warm process, with limits of its own.

Run as a script it is that process: it reads one JSON request a line and answers with one JSON line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

GIB = 1 << 30
COMMANDS = {
    "cmsisnn-tune": "tuning.cli.main",
    "cmsisnn-verify": "tuning.cli.verify",
    "cmsisnn-quantize": "tuning.cli.quantize",
}


@dataclass(frozen=True)
class Ended:
    """How a command ended. `status` is negative for a signal; `seconds` are of the processor."""

    status: int
    out: str
    err: str
    seconds: float
    peak_bytes: int

    @property
    def message(self) -> str:
        return self.err.strip()


class ForkServer:
    """Runs commands one at a time; the working directory and limits belong to each call."""

    def __init__(self) -> None:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, command: str, *arguments: str | Path, cwd: Path, **limits: Any) -> Ended:
        """Run ``command arguments`` in `cwd`.

        `limits`: ``memory`` (bytes of address space beyond the warm process's), ``file_bytes`` (largest file),
        ``unprivileged`` (permissions hold for root too), ``environment`` (a dict).
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"command": command, "arguments": [str(item) for item in arguments], "cwd": str(cwd), **limits}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.communicate()


def _serve() -> None:
    import importlib.util

    for module in COMMANDS.values():
        if importlib.util.find_spec(module.rpartition(".")[0]) and importlib.util.find_spec(module):
            importlib.import_module(module)
    import tuning.model
    import tuning.model.schema
    import tuning.tuner  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(asdict(run_forked(json.loads(line)))), flush=True)


def run_forked(request: dict[str, Any]) -> Ended:
    """What `request` asks for, in a fork of this process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os._exit(_child(request, out.fileno(), err.fileno()))
        _, status, usage = os.wait4(child, 0)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    return Ended(
        os.waitstatus_to_exitcode(status), *texts, seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )  # fmt: skip


def _child(request: dict[str, Any], out: int, err: int) -> int:
    import importlib
    import resource
    import signal

    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(request["cwd"])
    os.environ.update(request.get("environment", {}))
    with open("/proc/self/statm") as stream:
        mapped = int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + request.get("memory", GIB),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if "file_bytes" in request:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails with EFBIG, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"],) * 2)
    if request.get("unprivileged"):
        _drop_capabilities()
    sys.argv = [request["command"], *request["arguments"]]
    status = 0
    try:
        importlib.import_module(COMMANDS[request["command"]]).main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _drop_capabilities() -> None:
    """Root without its powers is the owner of its files and no more."""
    import ctypes

    version, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(version, nothing):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    _serve()
