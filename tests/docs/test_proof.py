"""The page on faults names every fault test, and nothing that is not there."""

from __future__ import annotations

import re

from tests.acceptance.server import ROOT
from tests.fault.proxy import Fault

PAGE = (ROOT / "docs" / "proof.md").read_text()
OF_THE_HARNESS = {"test_proxy.py"}


def test_every_fault_test_is_on_the_page_and_the_page_names_no_other():
    files = {path.name for path in (ROOT / "tests" / "fault").glob("test_*.py")}
    assert set(re.findall(r"`(test_\w+\.py)`", PAGE)) == files - OF_THE_HARNESS


def test_every_fault_of_the_proxy_is_tested_by_some_file():
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "fault").glob("test_*.py"))
    assert [fault for fault in Fault if f"Fault.{fault.name}" not in tests] == []


def test_the_commands_on_the_page_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)", PAGE):
        assert f"\n{target}: " in makefile
    for module in re.findall(r"`python -m ([\w.]+)", PAGE):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
