"""A rolling upgrade: for a while, servers of the version before work on a database that a newer one has migrated.

The rule (ADR 5) is tried on planted migrations, and on the newest real one with the code of the commit before it.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from backend.store.migrations import works_with
from backend.store.open import migrate_database
from backend.store.postgres import migrate as postgres
from backend.store.sqlite import migrate as sqlite
from tests.acceptance.server import ROOT, Server, until
from tests.databases import POSTGRES, SQLITE, placed_url

MODULES = {SQLITE: sqlite, POSTGRES: postgres}
EXPANDING = """-- works with: 1
alter table schedules add column colour text;
alter table runs add column colour text;
create index runs_colour on runs (colour) where colour is not null;
create table colours (id text primary key);
"""
CONTRACTING = "alter table schedules rename column note_by to noted_by;\n"
EVERY_SECOND = [{"kind": "interval", "every": "1s"}]


def newest_of(kind: str) -> tuple[int, Path, str]:
    module = MODULES[kind]
    version = max(module.migrations())
    name, text = module.migrations()[version]
    return version, ROOT / module.PACKAGE.replace(".", "/") / name, text


def url_of(folder: Path) -> str:
    return placed_url(folder) or f"sqlite:///{folder / 'data' / 'scheduler.db'}"


def plant(kind: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a package of all migrations and this one, which is what newer code would have."""
    module = MODULES[kind]
    package = folder / f"planted_{folder.name}_{kind}"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, content in module.migrations().values():
        (package / name).write_text(content)
    (package / f"{max(module.migrations()) + 1:04}_planted.sql").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(module, "PACKAGE", package.name)


def code_before(file: Path, folder: Path) -> str:
    """Lay out the code as it was before a file was added."""
    return code_of(f"{added_in(file)}^", folder)


def added_in(file: Path) -> str:
    found = git("log", "--diff-filter=A", "--format=%H", "-1", "--", str(file.relative_to(ROOT))).decode().strip()
    assert found, f"{file.name} is in no commit yet, so commit it first"
    return found


def code_of(commit: str, folder: Path) -> str:
    code = folder / "code"
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "backend"))) as archive:
        archive.extractall(code, filter="data")
    return str(code)


def git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, timeout=60).stdout


def fired(server: Server) -> int:
    return int(server.query("select count(*) from runs where state = 'succeeded'")[0][0])


def fires_again(server: Server) -> None:
    before = fired(server)
    until("two more fires", lambda: fired(server) > before + 1)


def assert_sound(folder: Path, code: str, server: Server) -> None:
    url = {"SCHEDULER_DATABASE_URL": url_of(folder), "PYTHONPATH": code}
    command = [sys.executable, "-m", "backend", "db", "check"]
    check = subprocess.run(command, cwd=folder, env=url, check=False, capture_output=True, timeout=60)
    assert check.returncode == 0, check
    audit = server.get("/audit/occurrences")
    assert audit["expected"] > 0
    assert (audit["missing"], audit["doubled"]) == ([], [])


def assert_works_through_an_upgrade(folder: Path, code: str) -> None:
    with Server(folder, code=code) as old:
        old.ready().create("tick", {"kind": "command", "argv": ["true"]}, triggers=EVERY_SECOND)
        fires_again(old)
        assert len(migrate_database(url_of(folder))) == 1
        fires_again(old)
        assert old.stop() == 0
    with Server(folder, code=code) as again:
        fires_again(again.ready())
        assert_sound(folder, code, again)
        assert again.stop() == 0


def assert_refused(folder: Path, code: str) -> None:
    with Server(folder, code=code) as first:
        assert first.ready().stop() == 0
    assert len(migrate_database(url_of(folder))) == 1
    with Server(folder, code=code) as late:
        assert late.exit_code() == 2
        assert "newer than this program" in late.errors + str(late.lines)


def test_a_server_works_on_while_and_after_a_newer_one_expands_the_schema(
    tmp_path: Path, database_of_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(database_of_servers, EXPANDING, tmp_path, monkeypatch)
    assert_works_through_an_upgrade(tmp_path, str(ROOT))


def test_a_server_refuses_a_schema_that_a_newer_one_has_contracted(
    tmp_path: Path, database_of_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(database_of_servers, CONTRACTING, tmp_path, monkeypatch)
    assert_refused(tmp_path, str(ROOT))


def test_the_code_before_the_newest_migration_works_after_it_or_refuses(
    tmp_path: Path, database_of_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, file, text = newest_of(database_of_servers)
    if version == 1:  # before it there was no code to run, so take what is committed and a migration to come
        plant(database_of_servers, EXPANDING, tmp_path, monkeypatch)
        assert_works_through_an_upgrade(tmp_path, code_of("HEAD", tmp_path))
    elif works_with(version, text) < version:
        assert_works_through_an_upgrade(tmp_path, code_before(file, tmp_path))
    else:
        assert_refused(tmp_path, code_before(file, tmp_path))


def test_the_commit_of_a_migration_is_found() -> None:
    _, file, _ = newest_of(SQLITE)
    assert len(added_in(file)) == 40


@pytest.mark.parametrize("kind", MODULES)
def test_every_migration_but_the_first_says_which_code_may_still_run(kind: str) -> None:
    for version, (name, text) in MODULES[kind].migrations().items():
        says = text.startswith("-- works with: ")
        assert says == (version > 1), f"{name}: begin it with a line `-- works with: VERSION` (ADR 5)"
        assert 1 <= works_with(version, text) <= version, name
