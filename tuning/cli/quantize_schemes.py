# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-quantize --scheme auto``: every scheme tried, and the cheapest that keeps the accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..base.console import console, make_table
from ..base.errors import MissingToolError, OptionError, TuningError
from ..check import Check, EmulatedCheck, with_firmware
from ..importers.float_network import FloatNetwork
from ..load import load_model
from ..plan import Plan
from ..quantize import AffineQuantized, FloatGraph, GraphQuantized, Quantized, evaluate, quantize_model
from ..quantize.observe import Progress
from ..quantize.source import Data
from ..target import load_target
from ..tuner import tune
from .tune import DEFAULT_TARGET

Result = Quantized | AffineQuantized | GraphQuantized
Networks = Callable[[str], FloatNetwork | FloatGraph]
_ROUNDING = 1e-9


class NoSchemeError(TuningError):
    """No scheme keeps the accuracy."""

    exit_status = 1


@dataclass(frozen=True, eq=False)
class Trial:
    """What a scheme makes of a network.

    Attributes
    ----------
    scheme : str
    result : Quantized or AffineQuantized or None
        None where `problem` says why there is none.
    share : float
        Of right answers; without labels, of answers that are the float network's; where `y` are numbers, of their
        variance that is explained.
    drop : float
        What that is below the float network's, in percent of the samples.
    cycles, flash_bytes, sram_bytes : int
        Of the plan, estimated.
    whole : float
        `share` of the float network.
    firmware : EmulatedCheck or None
        What the firmware gives on the first samples, where it was emulated.
    """

    scheme: str
    result: Result | None = None
    share: float = 0.0
    drop: float = 100.0
    cycles: int = 0
    flash_bytes: int = 0
    sram_bytes: int = 0
    problem: str = ""
    whole: float = 1.0
    firmware: EmulatedCheck | None = None

    def to_dict(self) -> dict[str, Any]:
        if self.result is None:
            return {"scheme": self.scheme, "problem": self.problem}
        names = ("scheme", "share", "drop", "cycles", "flash_bytes", "sram_bytes")
        told = {name: getattr(self, name) for name in names}
        return told | ({} if self.firmware is None else {"firmware": asdict(self.firmware)})


class Search:
    """Every scheme tried, and the cheapest taken.

    Parameters
    ----------
    calibration, judged : Data
        What scales come from, and what the networks are judged by.
    target : str or None
        Of the estimated cycles; by default a Cortex-M7.
    most : float
        Percent of the samples that a scheme may lose.
    emulates : bool
        Whether the firmware is emulated too, on the samples that networks are judged by.
    """

    def __init__(
        self, calibration: Data, judged: Data, target: str | None, most: float, *, emulates: bool = False
    ) -> None:
        self.calibration, self.judged, self.most, self.emulates = calibration, judged, most, emulates
        self.target = load_target(target or DEFAULT_TARGET)
        self.found: list[Trial] = []
        self.taken: Trial | None = None
        self.measure = ""

    def run(
        self, networks: Networks, schemes: Sequence[str], options: Mapping[str, Mapping[str, Any]],
        progress: Progress,
    ) -> Result:  # fmt: skip
        """What the scheme with the least cycles gives, among those that lose at most so much.

        Raises
        ------
        NoSchemeError
            There is none: what the best of them loses.
        """
        for scheme in schemes:
            try:
                self.found.append(self._trial(networks(scheme), scheme, options[scheme], progress))
            except TuningError as problem:
                self.found.append(Trial(scheme, problem=str(problem)))
        done = [trial for trial in self.found if trial.result is not None]
        if not done:
            raise TuningError("; ".join(dict.fromkeys(trial.problem for trial in self.found)))
        if not (fitting := [trial for trial in done if self.keeps(trial)]):
            best = min(done, key=lambda trial: trial.drop)
            raise NoSchemeError(
                f"--max-drop: no scheme stays within {self.most:g} percent: {best.scheme} comes nearest and loses "
                f"{best.drop:.2f}; allow more, or train with quantisation in mind"
            )
        self.taken = min(fitting, key=lambda trial: (trial.cycles, trial.flash_bytes))
        assert self.taken.result is not None
        return self.taken.result

    def keeps(self, trial: Trial) -> bool:
        return trial.drop <= self.most + _ROUNDING

    def _trial(
        self, network: FloatNetwork | FloatGraph, scheme: str, options: Mapping[str, Any], progress: Progress
    ) -> Trial:
        def say(line: str) -> None:
            progress(f"{scheme}: {line}")

        result = quantize_model(network, self.calibration, scheme, progress=say, **options)
        found = evaluate(result, self.judged)
        accuracy, agreement = found["accuracy"], found["agreement"]
        share, whole = agreement, 1.0
        if accuracy:
            share, whole = accuracy[scheme], accuracy["float"]
        elif found["errors"]:
            shares = explained(found["errors"], self.judged)
            share, whole, self.measure = shares[scheme], shares["float"], "R2"
        if share is None:
            raise OptionError("--scheme auto: nothing to judge by: expected y beside x, or a softmax")
        say("plan")
        plan = tune(result.model, self.target)
        cycles, flash, sram = (plan.totals[name] for name in ("cycles", "flash_bytes", "sram_bytes"))
        firmware = self.in_firmware(result, plan, say) if self.emulates else None
        return Trial(scheme, result, share, 100 * (whole - share), cycles, flash, sram, "", whole, firmware)

    def in_firmware(self, result: Result, plan: Plan, say: Progress) -> EmulatedCheck:
        """What the emitted firmware gives, of the model file that would be written."""
        say("firmware")
        with TemporaryDirectory() as folder:
            model = load_model(result.save(Path(folder) / "network.yaml"))
            nothing = Check(self.judged.name, 0, model.dtype, True, ())
            found = with_firmware(nothing, model, self.judged, plan)
        if found.emulated is None:
            raise MissingToolError(f"--firmware: {found.not_emulated}")
        return found.emulated

    def to_list(self) -> list[dict[str, Any]]:
        return [trial.to_dict() | {"taken": trial is self.taken} for trial in self.found]

    def print(self, no_color: bool) -> None:
        """The table, the scheme that was taken marked."""
        out = console(no_color)
        share = self.measure or ("accuracy" if self.judged.y is not None else "agreement")
        numbers = (share, *(["firmware"] if self.emulates else []), "drop", "cycles", "flash", "SRAM")
        table = make_table("scheme", *numbers, "", right=numbers)
        if done := [trial for trial in self.found if trial.result is not None]:
            table.add_row("float", f"{done[0].whole:.2%}", *["-"] * (len(numbers) - 1), "")
        for trial in self.found:
            if trial.result is None:
                table.add_row(trial.scheme, *["-"] * len(numbers), "refused")
                continue
            right = trial.firmware and trial.firmware.accuracy
            emulated = ["-" if right is None else f"{right:.2%}"] if self.emulates else []
            sizes = (f"{trial.cycles:,}", f"{trial.flash_bytes:,}", f"{trial.sram_bytes:,}")
            word = "taken" if trial is self.taken else "" if self.keeps(trial) else "drops too much"
            drop = f"{round(trial.drop, 2) + 0.0:.2f}"
            table.add_row(trial.scheme, f"{trial.share:.2%}", *emulated, drop, *sizes, word)
        out.print(table)
        if counts := [trial.firmware.samples for trial in done if trial.firmware is not None]:
            least = min(counts)
            out.print(f"Firmware: emulated on the first {least:,} samples{' or more' if max(counts) > least else ''}.")
        for trial in self.found:
            if trial.result is None:
                out.print(f"- {trial.scheme} is refused: {trial.problem}")
        out.print(
            f"{share[0].upper()}{share[1:]} on {len(self.judged):,} samples of {self.judged.name}; taken is the least "
            f"of the estimated cycles ({self.target.name}) among schemes that drop at most {self.most:g} percent.\n"
        )


def explained(errors: Mapping[str, Mapping[str, float]], judged: Data) -> dict[str, float]:
    """The part of the first output's variance that each network explains (R2)."""
    name, found = next(iter(errors.items()))
    targets = judged.targets[name] if isinstance(judged.targets, Mapping) else judged.targets
    targets = judged.y if targets is None else targets
    assert targets is not None
    flat = targets.reshape(len(targets), -1)
    variance = float(np.square(flat - flat.mean(axis=0)).mean())
    return {kind: 1 - error**2 / variance if variance else float(error == 0) for kind, error in found.items()}
