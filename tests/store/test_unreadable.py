"""What this program cannot read stays visible, harms nobody, and gives no secret away (P8)."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from backend.errors import ConfigurationError
from backend.model.ids import DEFAULT_NAMESPACE
from backend.service.keys import ensure_admin_key
from backend.service.views import schedule_view
from backend.store.open import migrate_database, open_store
from backend.store.schedules import ScheduleFilter
from backend.worker.attempt import Assignment, perform
from tests.store.world import World

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("text", ["not json", "[]", "{}", '{"definition": 1}'])
async def test_an_unreadable_definition_is_listed_with_the_reason(world: World, text: str) -> None:
    await world.put()
    await world.put("other")
    world.sql("update schedules set definition = ? where id = 'job'", text)
    listed = await world.store.namespace(DEFAULT_NAMESPACE).schedules(ScheduleFilter(), after=0, limit=10)
    shown = [schedule_view(one) for one in listed]
    assert [one["id"] for one in shown] == ["job", "other"]
    assert "cannot be read" in str(shown[0]["error"])
    assert shown[1]["error"] is None


async def test_an_errand_that_cannot_be_read_fails_without_quoting_it(world: World) -> None:
    await world.put()
    await world.trigger()
    [run] = (await world.claim()).runs
    errand = '[1,{"kind":"http","url":"https://example.org/","sign":"TOPSECRET"},{},"3m",{},"at_least_once",null,null]'
    result = await perform(Assignment(run, "t1", "w1", "job", errand), None, None)  # type: ignore[arg-type] # never used
    assert result is not None
    assert result.ended.permanent
    assert "cannot be read" in str(result.error)
    assert "TOPSECRET" not in str(result.error)


async def test_the_database_and_its_folder_are_for_one_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    store = await open_store(f"sqlite:///{folder}/scheduler.db")
    await ensure_admin_key(store.admin(), folder)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    store.close()
    assert modes.pop("data") == 0o700
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.parametrize("what", ["a folder", "garbage"])
def test_a_database_that_is_none_is_refused_in_one_sentence(tmp_path: Path, what: str) -> None:
    path = tmp_path / "scheduler.db"
    path.mkdir() if what == "a folder" else path.write_bytes(b"garbage" * 1000)
    with pytest.raises(ConfigurationError, match=r"^SCHEDULER_DATABASE_URL: .* cannot be used"):
        migrate_database(f"sqlite:///{path}")


@pytest.mark.parametrize("what", ["a folder", "not text"])
async def test_an_admin_key_that_cannot_be_read_is_refused_in_one_sentence(world: World, tmp_path: Path, what) -> None:
    path = tmp_path / "admin.key"
    path.mkdir() if what == "a folder" else path.write_bytes(b"\xff" * 40)
    with pytest.raises(ConfigurationError, match=r"^SCHEDULER_DATA_DIR: .* cannot be read or made"):
        await ensure_admin_key(world.store.admin(), tmp_path)


async def test_a_schedule_that_moved_to_another_file_is_not_pruned_with_the_first(world: World) -> None:
    before = await world.put(source="a.yaml")
    moved = await world.put(source="b.yaml")
    assert (moved.source, moved.revision) == ("b.yaml", before.revision)
    assert (await world.schedule()).source == "b.yaml"
