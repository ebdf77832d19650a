# SPDX-License-Identifier: Apache-2.0
"""The errors of the tuner: one clear sentence each. The command line prints them and exits with `exit_status`."""

from __future__ import annotations


class TuningError(ValueError):
    """Base of every error that :mod:`tuning` raises on purpose."""

    exit_status = 2


class ModelError(TuningError):
    """A model file, or the weights it names, cannot be used."""


class TargetError(TuningError):
    """A target file cannot be used, or no target has that name."""


class OptionError(TuningError):
    """An option has a value that cannot be used."""


class MissingToolError(TuningError):
    """Something that `--score emulate` needs is not installed."""


EXTRAS = {
    "firmware": ("ziglang", "unicorn", "capstone", "pyelftools"),
    "quantize": ("onnx",),
    "against": ("onnx", "onnxruntime", "ai-edge-litert", "tflite-micro==0.dev20261023182759"),
    "cluster": ("dask", "distributed"),
}
"""The packages of each extra of pyproject.toml, by name, or with the version where it must be that one."""


def install(extra: str, only: str = "") -> str:
    """What to type for the packages of an extra, or for one of them; by its name it would compile this package anew.

    Examples
    --------
    >>> install("firmware")
    'pip install ziglang unicorn capstone pyelftools'
    >>> install("against", "tflite-micro")
    'pip install tflite-micro==0.dev20261023182759'
    """
    packages = [package for package in EXTRAS[extra] if only in ("", package.partition("==")[0])]
    return f"pip install {' '.join(packages)}"


class InfeasibleError(TuningError):
    """No choice of variants fits the budgets.

    Attributes
    ----------
    smallest : dict of str to int
        Smallest `sram` and `flash` budgets (bytes) that some plan fits into, each with the other budget kept.
    """

    exit_status = 1

    def __init__(self, message: str, smallest: dict[str, int] | None = None) -> None:
        super().__init__(message)
        self.smallest = smallest or {}
