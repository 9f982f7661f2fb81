"""What the subcommands share: options, and what is shown while one runs."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from covid_core.paths import dataset_dir, default_model, models_dir

_MAX_SEED = 2**32 - 1  # NumPy's
GOES_ON = "; the same command goes on from here"
_STDERR = 2


class Subcommands:
    """The subcommands of a parser."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], summary: str, after_interrupt: str = ""
    ) -> argparse.ArgumentParser:
        """The parser of a new subcommand, for its options.

        Args:
            name: of the subcommand.
            run: does it, and gives the exit code.
            summary: begins in lower case, without a full stop.
            after_interrupt: what an interrupted user reads besides that it was.
        """
        style = argparse.ArgumentDefaultsHelpFormatter
        description = summary.capitalize() + "."
        parser = self._parsers.add_parser(name, help=summary, description=description, formatter_class=style)
        parser.set_defaults(run=run, after_interrupt=after_interrupt)
        return parser


def whole(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number within bounds; anything else is bad usage."""

    def parsed(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < lowest or (highest is not None and int(text) > highest):
            bounds = f"from {lowest} to {highest}" if highest is not None else f"of at least {lowest}"
            raise argparse.ArgumentTypeError(f"must be a whole number {bounds}. Received: {text!r}")
        return int(text)

    return parsed


def add_seed(parser: argparse.ArgumentParser, purpose: str) -> None:
    """The option of a seed."""
    parser.add_argument("--seed", type=whole(0, _MAX_SEED), default=0, help=purpose)


def add_model(parser: argparse.ArgumentParser) -> None:
    """The option of a bundle."""
    parser.add_argument("--model", default=default_model(), help="a bundle's folder, or its name in models/")


def add_collection(parser: argparse.ArgumentParser, purpose: str) -> None:
    """The option of the collection that a dataset was prepared from."""
    text = f"folder with metadata.csv that the dataset was prepared from, {purpose}"
    parser.add_argument("--collection", type=Path, default=dataset_dir(), help=text)


def bundle_folder(model: str) -> Path:
    """The folder of a bundle that is given by its own path or by its name in the folder of models."""
    from covid_core.inference.bundle import MANIFEST

    folder = Path(model)
    return folder if (folder / MANIFEST).is_file() else models_dir() / model


@contextmanager
def progress(title: str, unit: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, if that is a terminal; it is moved by calls with (done, total)."""
    with tqdm(desc=title, unit=unit, leave=False, disable=None if shown else True) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        yield move


def said_with_seconds() -> Callable[[str], None]:
    """Prints lines on stderr, each with the seconds since now."""
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:4.0f} s] {line}", file=sys.stderr, flush=True)

    return say


@contextmanager
def native_messages_hidden() -> Iterator[None]:
    """Hide what native libraries write to file descriptor 2: LiteRT says that it uses XNNPACK, TensorFlow greets on import.

    Python's own `sys.stderr` cannot catch that. Errors still come as exceptions.
    """
    try:
        saved = os.dup(_STDERR)
    except OSError:  # the process was started without one
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), _STDERR)
        yield
    finally:
        os.dup2(saved, _STDERR)
        os.close(saved)
