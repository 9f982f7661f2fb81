"""What the guides for contributors name is there."""

import re

import pytest

from tests.conftest import PROJECT_DIR


@pytest.mark.parametrize("guide", ["CONTRIBUTING.md", "SECURITY.md", "docs/ARCHITECTURE.md"])
def test_every_path_that_a_guide_names_exists(guide: str) -> None:
    text = (PROJECT_DIR / guide).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:covid_core|tests|docs|pages|benchmarks)/[\w./]*)`", text))
    assert len(named) >= 6
    assert sorted(path for path in named if not (PROJECT_DIR / path).exists()) == []
