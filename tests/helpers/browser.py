# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium over its debugging pipe: pages as a reader sees them.

``python tests/helpers/browser.py report.html picture.webp [WIDTH HEIGHT [dark]]`` takes a picture.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
# The debugging pipe is made of inherited descriptors.
PROGRAM = next((path for name in NAMES if os.name == "posix" and (path := shutil.which(name))), None)
PATIENCE = 120
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip

START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
os.dup2(ends[0], 3), os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a browser of its own; a context manager."""

    def __init__(self) -> None:
        assert PROGRAM is not None
        self._profile = tempfile.TemporaryDirectory(prefix="cmsisnn-x-", ignore_cleanup_errors=True)
        (their_in, self._out), (self._in, their_out) = os.pipe(), os.pipe()
        # The debugging pipe is descriptors 3 and 4 of the browser.
        command = [PROGRAM, *FLAGS, f"--user-data-dir={self._profile.name}", "--remote-debugging-pipe", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(their_in), str(their_out), *command],
            pass_fds=(their_in, their_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        self._number, self._buffer, self._session = 0, b"", None
        self.events: list[dict[str, Any]] = []
        pages = [t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self._session = self.send("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol; events that come meanwhile are kept in `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._buffer:
                ready, _, _ = select.select([self._in], [], [], PATIENCE)
                part = os.read(self._in, 1 << 20) if ready else b""
                assert part, f"{method}: the browser ended, or said nothing for {PATIENCE} seconds"
                self._buffer += part
            one, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(one)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def open(self, page: Path, width: int, *, dark: bool = False) -> None:
        """Show a file in a window of `width` pixels: a phone's below 600."""
        phone = width < 600
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.send("Page.navigate", url=page.resolve().as_uri())
        for _ in range(400):
            if self.evaluate("location.protocol == 'file:' && document.readyState") == "complete":
                return
            time.sleep(0.025)
        raise AssertionError(f"{page} was not loaded in 10 seconds")

    def picture(self, path: Path, height: int | None = None) -> None:
        """The page, or its upper `height` pixels, as a PNG or WebP file."""
        whole = self.evaluate("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": self.evaluate("innerWidth"), "height": height or whole, "scale": 1}
        kind = {"format": "webp", "quality": 90} if path.suffix == ".webp" else {"format": "png"}
        taken = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip, **kind)
        path.write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    page, target, *size = sys.argv[1:]
    with Browser() as browser:
        browser.open(Path(page), int(size[0]) if size else 1280, dark="dark" in size)
        browser.picture(Path(target), int(size[1]) if len(size) > 1 else None)
