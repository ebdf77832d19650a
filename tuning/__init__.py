# SPDX-License-Identifier: Apache-2.0
"""An offline autotuner for int8, q7 and q15 networks on Cortex-M: the fastest kernel variant of every layer, inside
SRAM and flash.

::

    model.yaml, .tflite, .onnx -> Model -> per layer SearchSpace -> Variant -> Estimate -> Plan -> firmware files
    target.yaml -> Target -------------------------------------^

    load_model(path)                    a YAML, .tflite or .onnx file, a shipped model -> Model
    load_target(name)                   a core or board (list_targets), or a file      -> Target
    tune(model, target, sram_bytes=...) the best variant of every layer                -> Plan
    emit(plan, directory)               the firmware folder                            -> its files
    check(model, data)                  float against fixed point, layer by layer      -> Check
    quantize(network, calibration)      a float network (ONNX, arrays) to q7 or q15    -> Quantized

``check``, ``emit`` and ``quantize`` are packages that can be called; their full signatures are those of
:func:`tuning.check.check_model`, :func:`tuning.firmware.emit_plan` and :func:`tuning.quantize.quantize_model`.
Errors are :class:`TuningError`, a ``ValueError`` of one sentence; :class:`InfeasibleError` says what would fit.

>>> import tuning
>>> model = tuning.load_model("cifar10")
>>> plan = tuning.tune(model, tuning.load_target("cortex-m4"))
>>> tuning.emit(plan, "build/cifar10")                                  # doctest: +SKIP
"""

from __future__ import annotations

import sys
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base.errors import InfeasibleError, MissingToolError, ModelError, OptionError, TargetError, TuningError
    from .load import load_model
    from .model import Model, list_models
    from .plan import LayerPlan, Plan
    from .target import Target, list_targets, load_target
    from .tuner import tune

__all__ = [
    "InfeasibleError",
    "LayerPlan",
    "MissingToolError",
    "Model",
    "ModelError",
    "OptionError",
    "Plan",
    "Target",
    "TargetError",
    "TuningError",
    "check",
    "emit",
    "list_models",
    "list_targets",
    "load_model",
    "load_target",
    "quantize",
    "tune",
]

if (Path(__file__).parent / "meson.build").exists():
    from cmsisnn_x._checkout import use_installed

    use_installed(__name__, __path__)

_HOME = {name: "base.errors" for name in __all__ if name.endswith("Error")} | {
    "LayerPlan": "plan",
    "Model": "model",
    "Plan": "plan",
    "Target": "target",
    "list_models": "model",
    "list_targets": "target",
    "load_model": "load",
    "load_target": "target",
    "tune": "tuner",
}


def __getattr__(name: str) -> Any:
    # Names are imported when they are first used: `cmsisnn-tune --help` needs none of them.
    if name in _VERBS:
        return import_module(f".{name}", __name__)
    if name in _HOME:
        value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)


class _Emit(ModuleType):
    """:mod:`tuning.emit` is a package, and the verb ``tuning.emit(plan, directory)``; the whole folder, which has a
    report in it, comes from :mod:`tuning.firmware`.
    """

    def __call__(self, plan: Plan, directory: str | PathLike[str], *, force: bool = False) -> Any:
        return self.emit_plan(plan, directory, force=force)

    def __getattr__(self, name: str) -> Any:
        if name in ("emit_plan", "render"):
            return getattr(import_module(".firmware", __name__), name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _Quantize(ModuleType):
    """:mod:`tuning.quantize` is a package, and the verb ``tuning.quantize(network, calibration)``."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self.quantize_model(*args, **keywords)


class _Check(ModuleType):
    """:mod:`tuning.check` is a package, and the verb ``tuning.check(model, data)``."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self.check_model(*args, **keywords)


_VERBS = {"check": _Check, "emit": _Emit, "quantize": _Quantize}


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds a sub-package here under its own name, which for some is also a verb's.
        if name in _VERBS and isinstance(value, ModuleType):
            value.__class__ = _VERBS[name]
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
