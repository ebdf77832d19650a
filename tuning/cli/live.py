# SPDX-License-Identifier: Apache-2.0
"""What a person sees while variants are emulated: a table that lives on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..base.console import console, make_table

if TYPE_CHECKING:
    from ..search.events import Evaluation, Event, Progress

ROWS = 24
"""Layers in the live table at most: those at work come first."""


@contextmanager
def progress(enabled: bool, no_color: bool, verbose: bool, quiet: bool = False) -> Iterator[Progress | None]:
    """A callback for `tuning.tune`.

    Parameters
    ----------
    enabled : bool
        Without it, only messages are shown: what the records have to say.
    no_color : bool
    verbose : bool
        Where the output is no terminal: a line per evaluation instead of one per layer.
    quiet : bool
        Not even messages.
    """
    out = console(no_color, stderr=True)
    if quiet:
        yield None
    elif not enabled:

        def say(event: Event) -> None:
            _evaluation(out, event)

        yield say
    elif not out.is_terminal:
        yield _Lines(out, verbose)
    else:
        from rich.live import Live

        view = View()
        with Live(get_renderable=view.render, console=out, transient=True, refresh_per_second=8) as live:

            def show(event: Event) -> None:
                if (found := _evaluation(live.console, event)) is not None:
                    view.update(found)

            yield show


def _evaluation(out: Console, event: Event) -> Evaluation | None:
    """`event`; what is none, but words for a person, is printed."""
    if "message" in event:
        out.print(event["message"])
    elif "interrupted" in event:
        names = event["estimated_layers"]
        rest = f"; {', '.join(names)} keep{'s' * (len(names) == 1)} the estimate's" if names else ""
        out.print(
            f"Interrupted after {event['done']} of {event['expected']} evaluations: every layer keeps its best so "
            f"far{rest}. Run the same command again to go on from here."
        )
    else:
        return event
    return None


class _Lines:
    """A line per layer when it is done."""

    def __init__(self, out: Console, verbose: bool) -> None:
        self.out, self.verbose = out, verbose
        self.finished: set[str] = set()

    def __call__(self, report: Event) -> None:
        event = _evaluation(self.out, report)
        if event is None:
            return
        done = event["trial"] == event["trials"] and event["layer"] not in self.finished
        if done:
            self.finished.add(event["layer"])
        if done or self.verbose:
            failed = f", {event['failures']} failed" if event["failures"] else ""
            best = "none worked yet"
            if event["best"]:
                best = f"best {event['best']:,} cycles (estimated {event['estimate']:,}): {event['variant']}"
            self.out.print(
                f"[{event['done']}/{event['expected']}] {event['layer']}: {event['trial']}/{event['trials']} "
                f"emulated{failed}, {best}"
            )


class View:
    """The live table: a row per layer, and a line with what is done, known and left."""

    def __init__(self) -> None:
        self.events: dict[str, Evaluation] = {}
        self.latest: Evaluation | None = None

    def update(self, event: Evaluation) -> None:
        self.events[event["layer"]] = self.latest = event

    def render(self) -> Table | Text:
        """What the terminal shows now."""
        if self.latest is None:
            return Text("Compiling...")
        numbers = ("trial", "best cycles", "estimated", "error")
        table = make_table("layer", *numbers, "best variant so far", right=numbers)
        working = [event for event in self.events.values() if event["trial"] < event["trials"]]
        others = [event for event in self.events.values() if event["trial"] >= event["trials"]]
        room = max(ROWS - len(working), 0)
        shown = [*others[len(others) - min(room, len(others)) :], *working[:ROWS]]
        for event in sorted(shown, key=lambda event: event["index"]):
            failed = f" ({event['failures']} failed)" if event["failures"] else ""
            best, estimate = event["best"], event["estimate"]
            table.add_row(
                event["layer"],
                f"{event['trial']}/{event['trials']}",
                f"{best:,}" if best else "-",
                f"{estimate:,}" if best else "-",
                f"{(estimate / best - 1) * 100:+.1f} %" if best and estimate else "-",
                f"{event['variant']}{failed}" if best else f"none worked yet{failed}",
            )
        table.caption = self._caption(self.latest)
        table.caption_justify = "left"
        table.caption_style = ""
        return table

    def _caption(self, event: Evaluation) -> str:
        width = 24
        filled = width * event["done"] // max(event["expected"], 1)
        parts = [f"{'━' * filled}{'╌' * (width - filled)} {event['done']} of {event['expected']} evaluations"]
        if event["known"]:
            parts.append(f"{event['known']} from records")
        if event["seconds_left"] is not None and event["done"] < event["expected"]:
            parts.append(f"about {_time(event['seconds_left'])} left")
        parts.append("Ctrl-C keeps the best so far")
        return ", ".join(parts)


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"
