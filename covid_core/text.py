"""Texts: plurals, what is safe in a terminal or a spreadsheet, and the sections of a model card."""

import re

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
RESEARCH_ONLY = "For research use only. Not a medical device: never decide about a patient by it."


def card_sections(card: str) -> dict[str, str]:
    """Take a card apart: the title of each section -> its Markdown. What stands before the first section is left out."""
    parts = (part.split("\n", 1) for part in re.split(r"^## ", card, flags=re.MULTILINE)[1:])
    return {part[0].strip(): part[-1].strip() for part in parts}


def card_lines(section: str) -> list[str]:
    """The paragraphs and list entries of a section as plain lines, without bullets; tables are left out."""
    lines = (line.strip().removeprefix("- ") for line in section.splitlines())
    return [line for line in lines if line and not line.startswith(("|", "#"))]


def printable(text: str) -> str:
    """A table's text without control characters, which could steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: `1 file`, `2 files`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def safe_cell(text: str) -> str:
    """Keep a spreadsheet from running a text as a formula: what begins like one gets an apostrophe before it.

    Source: OWASP, CSV Injection (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
