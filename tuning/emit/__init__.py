# SPDX-License-Identifier: Apache-2.0
"""From a plan to C text: pure functions, and one writer at the edge.

project(plan), sources(...)   everything the templates say, and the C files of the folder
layer_macros(layer, ...)      the macros of one layer alone
writer.write_files(...)       {path: text} to a folder, by atomic rename

The whole firmware folder, with its report, is :mod:`tuning.firmware`; ``tuning.emit(plan, directory)`` writes it.
"""

from __future__ import annotations

from .check import EmitError
from .macros import layer_macros

__all__ = ["EmitError", "layer_macros"]
