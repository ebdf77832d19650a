# SPDX-License-Identifier: Apache-2.0
"""From a plan to the firmware folder: pure functions plan -> {path: text}, and one writer at the edge."""

from .macros import layer_macros

__all__ = ["layer_macros"]
