"""The page on security names guards and tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()


def test_every_file_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    assert len(named) > 20
    places = [ROOT, ROOT / "backend", ROOT / "tests/unit", ROOT / "tests/acceptance"]
    assert not [name for name in named if not any((place / name).is_file() for place in places)]
