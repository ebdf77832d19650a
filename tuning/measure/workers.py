# SPDX-License-Identifier: Apache-2.0
"""Evaluations on the cores of this machine, or of a Dask cluster: joblib runs them, this process keeps each result
as soon as it arrives. A worker that is lost costs its evaluation, which is tried again.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

from cmsisnn_x.steps import Step

from ..base.errors import MissingToolError, OptionError, TuningError, install
from .bench import Bench, Measurement
from .record import key_of

if TYPE_CHECKING:
    from ..emulate.toolchain import Kind

Result = TypeVar("Result")
LOST = "the worker that evaluated it was lost"
TRIES = 3
"""Times that an evaluation may lose its worker: the last time it has one to itself."""
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Task:
    """One step to evaluate; `aligned` says whether its input and output start at word boundaries."""

    step: Step
    aligned: tuple[bool, bool]


class ProcessLost(Exception):
    """A process ended before its call did."""


class OwnProcess:
    """A process for calls that may end it, and another one for the next call once it did."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def call(self, function: Callable[..., Result], *given: Any) -> Result:
        """``function(*given)``, which is found by its name there.

        Raises
        ------
        ProcessLost
            It ended its process.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, get_context("spawn"))
        try:
            return self._pool.submit(function, *given).result()
        except BrokenProcessPool:
            self._pool = None
            raise ProcessLost from None


class Workers:
    """Evaluates tasks and remembers them.

    Parameters
    ----------
    bench : Bench
        Target, compiler, flags and records.
    jobs : int
        Evaluations at a time on this machine; 1 stays in this process.
    dask : str, optional
        Address of a Dask scheduler, ``tcp://host:8786``; its workers are used instead.
    """

    def __init__(self, bench: Bench, jobs: int = 1, dask: str | None = None) -> None:
        self.bench, self.jobs, self.dask = bench, jobs, dask
        self.evaluated = 0
        self._client: Any = None
        self._folder: str | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Workers:
        if self.dask is not None:
            self._client = self._stack.enter_context(_connect(self.dask))
        elif self.jobs > 1:
            # Interrupted workers are killed and tidy nothing up: what they make is below a folder of this process.
            self._folder = self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix="cmsisnn-x-", ignore_cleanup_errors=True)
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def count(self) -> int:
        """Evaluations at a time."""
        return max(sum(self._client.nthreads().values()), 1) if self._client is not None else self.jobs

    def evaluate(
        self, tasks: Sequence[Task], seen: Callable[[int, Measurement, bool], None] = lambda *_: None
    ) -> list[Measurement]:
        """One measurement per task, in order.

        Parameters
        ----------
        tasks : sequence of Task
        seen : callable, optional
            Called with the index of a task, its measurement and whether that was known before, as they arrive.

        Raises
        ------
        TuningError
            A worker of the cluster has another compiler or another version of this package.
        """
        about = [self.bench.about(task.step, task.aligned) for task in tasks]
        keys = [key_of(item) for item in about]
        places: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            places.setdefault(key, []).append(index)
        results: dict[str, Measurement] = {}

        def arrived(key: str, result: Measurement, known: bool) -> None:
            if not known:
                self.bench.keep({key: result}, {key: about[places[key][0]]})
                self.evaluated += 1
            results[key] = result
            for index in places[key]:
                seen(index, result, known)

        known = self.bench.records.get(places) if self.bench.records is not None else {}
        for key, result in Measurement.known(known).items():
            arrived(key, result, True)
        todo = {key: tasks[at[0]] for key, at in places.items() if key not in results}
        if self._client is None and (self.jobs == 1 or len(todo) <= 1):
            for key, task in todo.items():
                arrived(key, self.bench.measure_one(task.step, task.aligned), False)
        else:
            for key, result in self._on_workers(todo):
                arrived(key, result, False)
        return [results[key] for key in keys]

    def _on_workers(self, todo: dict[str, Task]) -> Iterator[tuple[str, Measurement]]:
        """Results as they arrive; what is missing after a worker was lost is tried again, at last one by one."""
        left = dict(todo)
        for attempt in range(1, TRIES + 1):
            groups = [[key] for key in left] if attempt == TRIES else [list(left)]
            for group in groups:
                try:
                    for key, result in self._run({key: left[key] for key in group}):
                        del left[key]
                        yield key, result
                except Exception as problem:
                    if not _is_lost_worker(problem):
                        raise
            if not left:
                return
        yield from ((key, Measurement(problem=LOST, failure="fault", passing=True)) for key in left)

    def _run(self, tasks: dict[str, Task]) -> Iterator[tuple[str, Measurement]]:
        from joblib import Parallel, delayed

        bench = self.bench
        parallel = Parallel(
            n_jobs=self.jobs if self._client is None else -1,
            return_as="generator_unordered",
            batch_size=1,
            pre_dispatch="all" if self._client is not None else "2*n_jobs",
        )
        calls = (
            delayed(_work)(
                key,
                bench.target,
                bench.cflags,
                bench.compiler,
                task,
                bench.fingerprint(task.step.header),
                (self._folder, os.getpid()) if self._folder else None,
            )
            for key, task in tasks.items()
        )
        with self._backend(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
            warnings.filterwarnings("ignore", message=r"\d+ tasks which were still being processed")
            with _workers_hear_no_signals():
                results = parallel(calls)
            try:
                for key, result in results:
                    if isinstance(result, str):
                        raise TuningError(result)
                    yield key, result
            finally:
                results.close()

    @contextmanager
    def _backend(self) -> Iterator[None]:
        from joblib import parallel_config

        if self._client is None:
            with parallel_config(backend="loky"):
                yield
        else:
            with parallel_config(backend="dask", client=self._client):
                yield


def _work(
    key: str,
    target: Any,
    cflags: tuple[str, ...],
    compiler: Kind | None,
    task: Task,
    fingerprint: tuple[str, ...],
    home: tuple[str, int] | None,
) -> tuple[str, Measurement | str]:
    """On a worker: evaluate one task; a text says why this worker is of no use. `home` is the folder and the process
    that it belongs to on this machine.
    """
    bench = Bench(target, cflags, compiler)
    found = bench.fingerprint(task.step.header)
    if found != fingerprint:
        what, theirs, ours = next(
            (what, a, b)
            for what, a, b in zip(("compiler", "kernels", "tools"), found, fingerprint, strict=True)
            if a != b
        )
        return key, (
            f"worker on {socket.gethostname()}: its {what} differ from this machine's, so that its figures would too: "
            f"expected {ours[:60]!r}, got {theirs[:60]!r}; install the same compiler and the same cmsisnn-x there"
        )
    with _at_home(*home) if home else nullcontext():
        return key, bench.measure_one(task.step, task.aligned)


@contextmanager
def _workers_hear_no_signals() -> Iterator[None]:
    """Processes started inside leave Ctrl-C and the like to this one, which ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as loky_tracker

    # Starting these allows signals again, so they are started first.
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _at_home(folder: str, parent: int) -> Iterator[None]:
    """Temporary files go to `folder`; once `parent` is gone, this process goes too."""
    _watch(folder, parent)
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    try:
        yield
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]


@cache
def _watch(folder: str, parent: int) -> None:
    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    if os.name == "posix":  # elsewhere a process keeps the number of a parent that is gone
        threading.Thread(target=wait, daemon=True).start()


def _is_lost_worker(problem: BaseException) -> bool:
    """Whether the process of a worker went away: loky's and distributed's names for it."""
    from concurrent.futures.process import BrokenProcessPool

    return isinstance(problem, BrokenProcessPool) or type(problem).__name__ in ("KilledWorker", "TerminatedWorkerError")


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise MissingToolError(f"--dask: the distributed package is not installed: {install('cluster')}") from None
    wrong = f"--dask: expected the address of a running scheduler such as tcp://host:8786, got {address!r}"
    parts = re.fullmatch(r"(\w+)://(\[[^]]+\]|[^:/]+):(\d+)/?", address)
    if parts is None:
        raise OptionError(wrong)
    try:
        # A client that finds nobody complains for twenty seconds more when it is deleted: knock first.
        if parts[1] in ("tcp", "tls"):
            socket.create_connection((parts[2].strip("[]"), int(parts[3])), CONNECT_SECONDS).close()
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, OverflowError) as problem:
        raise OptionError(f"{wrong} ({problem})") from None
