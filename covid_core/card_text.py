"""What stands on every model card, page and report, and how a card is taken apart again. Knows nothing of how it is written."""

import re

RESEARCH_ONLY = "For research use only. Not a medical device: never decide about a patient by it."


def card_sections(card: str) -> dict[str, str]:
    """Take a card apart: the title of each section -> its Markdown. What stands before the first section is left out."""
    parts = (part.split("\n", 1) for part in re.split(r"^## ", card, flags=re.MULTILINE)[1:])
    return {part[0].strip(): part[-1].strip() for part in parts}


def card_lines(section: str) -> list[str]:
    """The paragraphs and list entries of a section as plain lines, without bullets; tables are left out."""
    lines = (line.strip().removeprefix("- ") for line in section.splitlines())
    return [line for line in lines if line and not line.startswith(("|", "#"))]
