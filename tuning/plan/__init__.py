# SPDX-License-Identifier: Apache-2.0
"""The plan of a whole network: its data (`plan`), how it is chosen (`planner`), what memory buys (`frontier`), and how
its file is read (`file`).
"""

from .plan import SCHEMA, Frontiers, LayerPlan, Plan, Point, RunnerUp, Totals

__all__ = [
    "SCHEMA",
    "Frontiers",
    "LayerPlan",
    "Plan",
    "Point",
    "RunnerUp",
    "Totals",
]
