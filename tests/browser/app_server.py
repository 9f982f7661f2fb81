"""The app in a process of its own and a Chromium to look at it with; for the browser tests and for docs/screenshots.py."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

PROJECT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
START_SECONDS = 120


@contextmanager
def running_app(
    log: Path, script: str = "streamlit_app.py", port: int | None = None, **environment: str
) -> Iterator[str]:
    """Start the app, on a free port by default; yield the address of its front page. `log` gets what it prints."""
    port = port or free_port()
    command = [sys.executable, "-m", "streamlit", "run", script]
    options = ["--server.port", str(port), "--server.address", "127.0.0.1", "--server.headless", "true"]
    options += ["--server.fileWatcherType", "none"]  # nobody edits the app while it is tested
    with log.open("wb") as output:
        app = subprocess.Popen(
            [*command, *options], cwd=PROJECT, stdout=output, stderr=output, env={**os.environ, **environment}
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_healthy(f"{address}/_stcore/health", app)
            yield address
        finally:
            app.terminate()
            app.wait(timeout=30)


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start Chromium without a screen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


def _wait_until_healthy(address: str, app: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while app.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"The app did not answer at {address}; it ended with {app.poll()}.")
