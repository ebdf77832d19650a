# SPDX-License-Identifier: Apache-2.0
"""``--check``: the fixed-point network held against the float one it came from, layer by layer, on real data.

Three things can go wrong on the way from float to q7, and each is counted where it happens: outputs saturate, a 32-bit
accumulator wraps around, or the error grows until it drowns the signal. Without a float network (a model file that
names none) the first two are still counted; the data then hold the network's own integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .counts import LEAST_SNR_DB, MOST_SATURATED, TensorCheck
from .jobs import job_of
from .result import Check, EmulatedCheck

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np

    from ..model import Model
    from ..plan import Plan
    from ..quantize.data import Data
    from ..quantize.graph.samples import Samples

__all__ = [
    "LEAST_SNR_DB", "MOST_SATURATED", "Check", "EmulatedCheck", "TensorCheck", "check_model", "with_firmware",
]  # fmt: skip


def check_model(
    model: Model, data: str | PathLike[str] | Data | np.ndarray, plan: Plan | None = None, *, name: str = "data"
) -> Check:
    """Hold the fixed-point network of a model against its float network.

    Parameters
    ----------
    model : Model
        Its file may name the float network it was quantised from (``float:``, see :mod:`tuning.quantize`).
    data : path, Data or ndarray
        An ``.npz`` with `x` (or `inputs`) and optionally `y` (or `labels`), or such arrays. `x` are samples as the
        float network takes them; without a float network, the integers that the network itself takes.
    plan : Plan, optional
        Also emulate the firmware of this plan, on at most `jobs.EMULATED_SAMPLES` samples.
    name : str
        What messages call data that are no file.

    Returns
    -------
    Check

    Raises
    ------
    OptionError
        The data do not fit the model.
    ModelError
        The float file does not.
    """
    job = job_of(model, data, name)
    found = job.numbers()
    return found if plan is None else job.firmware(found, plan)


def with_firmware(
    check: Check, model: Model, data: str | PathLike[str] | Data | Samples | np.ndarray, plan: Plan
) -> Check:
    """`check`, made by `check_model` of the same model and data, and the emulated firmware of `plan` with it."""
    return job_of(model, data, check.data).firmware(check, plan)
