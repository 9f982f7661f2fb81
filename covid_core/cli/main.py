"""The command line: the parser, and errors as exit codes.

Each subcommand imports only what it needs, so that `predict` starts at once.
"""

import argparse
import io
import sys
from collections.abc import Sequence

from covid_core import __version__
from covid_core.cli import data, train, use
from covid_core.cli.common import Subcommands
from covid_core.errors import CovidCoreError

EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130
TRAINING_PACKAGES = ("keras", "tensorflow")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; what it parses has `run`, and `after_interrupt`."""
    parser = argparse.ArgumentParser(
        prog="python -m covid_core",
        description="A second reader for COVID-19 on chest X-rays. For research use only, not a medical device.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    subcommands = Subcommands(parser)
    for module in (data, train, use):
        module.add_to(subcommands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        0 on success, 1 on failure (with one line on stderr), 130 when interrupted; bad usage leaves with 2.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except CovidCoreError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        print(f"interrupted{options.after_interrupt}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAINING_PACKAGES:
            raise
        return _failed(f"this command needs {package}: pip install -r requirements-train.txt, or covid-core[train]")
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left; there is no one to tell
        return EXIT_FAILURE
    except OSError as error:  # a full disk, a folder without permission: no defect of ours
        return _failed(f"{error.strerror or error}: {error.filename or 'no file named'}")
    return code


def _failed(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return EXIT_FAILURE
