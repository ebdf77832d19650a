# SPDX-License-Identifier: Apache-2.0
"""What a check found, the columns of its table, and its verdict in sentences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..base.html import table
from .counts import TensorCheck


@dataclass(frozen=True)
class EmulatedCheck:
    """The emitted firmware, compiled and emulated.

    Attributes
    ----------
    samples, equal : int
        How many samples ran, from the first, and for how many the output equals the Python kernels' bit for bit.
    accuracy, python_accuracy : float or None
        Share of right answers of the firmware, and of the Python kernels on the same samples; None without labels.
    """

    samples: int
    equal: int
    accuracy: float | None
    python_accuracy: float | None


@dataclass(frozen=True)
class Check:
    """What :func:`check_model` found.

    Attributes
    ----------
    data : str
        Name of the data.
    samples : int
    dtype : {"q7", "q15", "int8", "uint8", "int16"}
    has_reference : bool
        Whether there was a float network to compare with.
    tensors : tuple of TensorCheck
        The input, then every layer's output.
    float_accuracy, fixed_accuracy : float or None
        Share of right answers; None without labels.
    emulated : EmulatedCheck or None
        The same of the firmware, where it was emulated; else `not_emulated` says why not.
    not_emulated : str or None
    float_error, fixed_error : float or None
        Root mean square errors, where the data say what numbers the first output should be.
    """

    data: str
    samples: int
    dtype: str
    has_reference: bool
    tensors: tuple[TensorCheck, ...]
    float_accuracy: float | None = None
    fixed_accuracy: float | None = None
    emulated: EmulatedCheck | None = None
    not_emulated: str | None = None
    float_error: float | None = None
    fixed_error: float | None = None

    @property
    def harmless(self) -> tuple[TensorCheck, ...]:
        """Tensors whose noise or saturation does not come out of the network.

        A later tensor has the noise of all before it: where it has little, theirs was lost on the way, as that of
        saturated values in front of a sigmoid is.
        """
        named = {one.name: one for one in self.tensors}
        clean = [at for at, one in enumerate(self.tensors) if one.max_error is not None and not one.problem]
        last = max(clean, default=0)
        pairs = zip(self.tensors, (*self.tensors[1:], None), strict=True)
        return tuple(
            tensor
            for at, (tensor, after) in enumerate(pairs)
            if tensor.problem and not tensor.overflows
            and (all(not named[end].problem for end in tensor.ends) if tensor.ends is not None
                 else at < last if tensor.max_error is not None else after is not None and after.is_flat_beyond(tensor))
        )  # fmt: skip

    @property
    def breaking(self) -> tuple[TensorCheck, ...]:
        """Tensors with a problem, but for those that are harmless."""
        harmless = self.harmless
        return tuple(tensor for tensor in self.tensors if tensor.problem and tensor not in harmless)

    @property
    def first_break(self) -> TensorCheck | None:
        """The first of them."""
        return next(iter(self.breaking), None)

    @property
    def passed(self) -> bool:
        """Whether no layer breaks, and the firmware gives what the Python kernels give."""
        return self.first_break is None and (self.emulated is None or self.emulated.equal == self.emulated.samples)

    def to_dict(self) -> dict[str, Any]:
        """The check as plan.json has it."""
        broken = self.first_break
        content = asdict(self)
        content["tensors"] = [
            {
                **asdict(tensor), "quartiles": list(tensor.quartiles),
                "ends": None if tensor.ends is None else list(tensor.ends),
            }
            for tensor in self.tensors
        ]  # fmt: skip
        return {**content, "first_break": broken and {"name": broken.name, "problem": broken.problem}}

    def _repr_html_(self) -> str:
        return check_html(self)


HEAD = (
    "layer", "op", "format", "range", "bits used", "saturated", "headroom", "overflows", "SNR dB", "alone", "max error",
)  # fmt: skip


def check_rows(check: Check) -> list[tuple[str, ...]]:
    """The columns of `HEAD`; ``-`` where something is not known or means nothing."""
    from math import log2

    rows: list[tuple[str, ...]] = []
    for t in check.tensors:
        weighted = t.headroom_bits is not None
        counted = weighted or (t.op == "input" and check.has_reference)
        exact = t.max_error == 0
        used = log2(t.largest) if t.largest else 0.0
        reached = log2(t.maximum - t.minimum + 1)
        rows.append(
            (
                t.name,
                t.op,
                t.format or f"{t.bits} bit",
                f"{t.minimum}..{t.maximum}",
                f"{used:.1f} of {t.bits - 1}" if t.scale is None else f"{reached:.1f} of {t.bits}",
                f"{t.saturated:,} ({100 * t.saturated / t.elements:.2g} %)" if counted and t.saturated else
                "0" if counted else "-",
                f"{t.headroom_bits:.1f} bit" if weighted else "-",
                f"{t.overflows:,}" if weighted else "-",
                "exact" if exact else _db(t.snr_db),
                "-" if t.op == "input" else "exact" if t.own_snr_db is None and t.max_error is not None
                else _db(t.own_snr_db),
                "-" if t.max_error is None else f"{t.max_error:.4g}",
            )
        )  # fmt: skip
    return rows


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def check_words(check: Check) -> list[str]:
    """The verdict in sentences, the most important one first."""
    said = []
    broken = check.first_break
    if broken is None:
        said.append(f"No layer breaks on {check.samples:,} samples of {check.data}")
    else:
        said.append(f"{broken.name} is the first layer that breaks: {broken.problem}")
    said += [f"{one.name}: {one.problem}, which does not come out of the network" for one in check.harmless]
    emulated = check.emulated
    if check.fixed_accuracy is not None:
        parts = [f"{check.dtype} {100 * check.fixed_accuracy:.2f} %"]
        if check.float_accuracy is not None:
            parts.insert(0, f"float {100 * check.float_accuracy:.2f} %")
        said.append(f"Accuracy on {check.samples:,} samples: {', '.join(parts)}")
        if emulated is not None and emulated.accuracy is not None and emulated.python_accuracy is not None:
            said.append(
                f"Accuracy of the emulated firmware on the first {emulated.samples}: {100 * emulated.accuracy:.2f} % "
                f"({check.dtype} in Python on the same: {100 * emulated.python_accuracy:.2f} %)"
            )
    if check.float_error is not None and check.fixed_error is not None:
        both = f"float {check.float_error:.4g}, {check.dtype} {check.fixed_error:.4g}"
        said.append(f"Error (root mean square) on {check.samples:,} samples: {both}")
    if emulated is not None:
        said.append(
            f"Emulated firmware equals the Python kernels bit for bit on {emulated.equal} of {emulated.samples} samples"
        )
    if check.not_emulated:
        said.append(f"The firmware was not emulated: {check.not_emulated}")
    return said


def check_html(check: Check) -> str:
    """A check: per tensor what `cmsisnn-tune --check` prints."""
    return table(HEAD, check_rows(check), "; ".join(check_words(check)), left=3)
