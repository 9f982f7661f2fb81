"""What a fetch of the dataset did, as counts and names, and in words for the terminal and the pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from covid_core.data.audit_finding import counted, printable

_NAMES_SHOWN = 10
_LONGEST_NAME = 255


@dataclass(frozen=True)
class FetchReport:
    """What a fetch did.

    Attributes:
        out_dir: the dataset folder: `metadata.csv` and `images/`.
        downloaded: files fetched now, the table included.
        skipped: files that were there already, the table included.
        not_found: names of images that the server does not have.
        escaping_names: names in the table that are no plain ones inside the folder of images; nothing was fetched for them.
        compared: how many of those fetched were compared with a checksum.
        verified: how many of those that were there already were compared with a checksum.
        not_compared: why nothing could be compared; None where there is a list of checksums.
        replaced: how many of those fetched took the place of a file with another content.
        former_table: where the table of before is kept, if it was one of these.
    """

    out_dir: Path
    downloaded: int
    skipped: int
    not_found: tuple[str, ...]
    escaping_names: tuple[str, ...] = ()
    compared: int = 0
    verified: int = 0
    not_compared: str | None = None
    replaced: int = 0
    former_table: Path | None = None

    @property
    def comparison(self) -> str:
        """What was compared with checksums, as a sentence; empty where there was nothing to compare."""
        if self.not_compared is not None:
            return f"Nothing was compared with checksums: {self.not_compared}."
        compared = [f"{self.compared} of those fetched"] if self.downloaded else []
        if self.verified:
            compared.append(f"{self.verified} of those that were there already")
        return f"{' and '.join(compared)} were compared with their checksums and are right." if compared else ""

    @property
    def left_out(self) -> str:
        """What of the table was left out, and why, as a sentence; empty where nothing was."""
        if not self.escaping_names:
            return ""
        count = counted(len(self.escaping_names), "file name")
        return (
            f"Left out: {count} of the table, for a file outside the folder of images or one that no file can have: "
            f"{_listed(self.escaping_names)}."
        )

    def summary(self) -> str:
        """What was done, as the command line prints it."""
        lines = [f"{self.out_dir}: {self.downloaded} files fetched, {self.skipped} were there already."]
        if self.comparison:
            lines.append(self.comparison)
        if self.replaced:
            lines.append(f"{self.replaced} were there with another content and were replaced.")
        if self.former_table is not None:
            lines.append(f"The table of before is kept as {self.former_table.name}.")
        if self.not_found:
            lines.append(f"The server does not have {len(self.not_found)}: {_listed(self.not_found)}")
        if self.left_out:
            lines.append(self.left_out)
        return "\n".join(lines)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_plain(name) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _plain(name: str) -> str:
    """A name from the table without what would steer a terminal, and not longer than a file's."""
    return printable(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...")
