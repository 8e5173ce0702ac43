"""Keys and namespaces in the store: when a key lets somebody in, and what a namespace's end takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backend.errors import Conflict, NotFound, Unauthorized
from backend.model.ids import NamespaceId
from backend.service.keys import ensure_admin_key, hash_of, id_in, identify, new_key
from backend.service.last_use import OFTEN, LastUse
from backend.store.keys import KEPT, KeyRow, NewKey, Successor
from tests.databases import sql
from tests.store.world import World

pytestmark = pytest.mark.anyio
HOUR = 3_600_000_000
GROWTH = NamespaceId("growth")


async def made(world: World, namespace: NamespaceId | None = None, expires_at: int | None = None) -> tuple[str, KeyRow]:
    id_, text = new_key()
    wanted = NewKey(id_, namespace, "", hash_of(text, world.store.store_id), "read", "key:admin", expires_at)
    return text, await world.store.keys(None).create(wanted)


async def lets_in(world: World, text: str) -> bool:
    try:
        await identify(world.store.admin(), text)
    except Unauthorized:
        return False
    return True


async def test_a_key_lets_in_until_it_expires_by_the_database_s_clock(world: World) -> None:
    text, row = await made(world, expires_at=world.clock.at + HOUR)
    assert id_in(text) == row.id
    world.clock.at += HOUR - 1
    assert await lets_in(world, text)
    assert not await lets_in(world, text + "x")
    assert not await lets_in(world, text.rpartition("_")[0] + "_x")
    world.clock.at += 1
    assert not await lets_in(world, text)


async def test_a_hash_is_of_no_use_in_another_database(world: World) -> None:
    text, _ = await made(world)
    assert hash_of(text, world.store.store_id) != hash_of(text, "another store's id")
    rows = sql(world.url, "select hash, name, scopes, source from api_keys")
    assert text.split("_", 2)[2] not in repr(rows)


async def test_a_revoked_key_of_a_file_is_never_forgotten_and_so_never_let_in_anew(world: World) -> None:
    admin = world.store.admin()
    row = await admin.adopt_key("of a file", "host:/data/admin.key")
    await world.store.keys(None).revoke(row.id)
    world.clock.go(hours=24 * 400)
    await made(world)
    assert (await admin.adopt_key("of a file", "host:/data/admin.key")).revoked_at is not None


async def test_a_revoked_key_stays_revoked_from_the_first_time(world: World) -> None:
    text, row = await made(world)
    assert await world.store.keys(None).revoke(row.id)
    first = world.clock.at
    world.clock.at += HOUR
    assert not await world.store.keys(None).revoke(row.id)
    assert (await world.store.keys(None).get(row.id)).revoked_at == first
    assert not await lets_in(world, text)


async def test_a_rotated_key_and_its_successor_are_both_in_force_for_the_overlap(world: World) -> None:
    old, row = await made(world, expires_at=world.clock.at + 24 * HOUR)
    world.clock.at += 5 * HOUR
    id_, new = new_key()
    successor = Successor(id_, hash_of(new, world.store.store_id), "key:admin", HOUR)
    fresh = await world.store.keys(None).rotate(row.id, successor)
    assert (fresh.scopes, fresh.namespace, fresh.expires_at) == ("read", None, world.clock.at + 24 * HOUR)
    assert await lets_in(world, old)
    assert await lets_in(world, new)
    world.clock.at += HOUR
    assert not await lets_in(world, old)
    assert await lets_in(world, new)
    assert (await world.store.keys(None).get(row.id)).successor == id_


async def test_of_two_who_rotate_a_key_at_once_one_makes_a_successor(world: World) -> None:
    _, row = await made(world)
    wanted = [Successor(id_, hash_of(text, "x"), "key:admin", HOUR) for id_, text in (new_key(), new_key())]
    both = await asyncio.gather(*(world.store.keys(None).rotate(row.id, one) for one in wanted), return_exceptions=True)
    assert [type(one) for one in both if isinstance(one, Exception)] == [Conflict]
    _, keys = await world.store.keys(None).page(after="", limit=10)
    assert len(keys) == 2


async def test_another_namespace_s_key_is_not_there(world: World) -> None:
    await world.store.namespaces().create(GROWTH, "UTC", "{}")
    _, row = await made(world, GROWTH)
    elsewhere = world.store.keys(NamespaceId("default"))
    for asked in (elsewhere.get(row.id), elsewhere.revoke(row.id), elsewhere.get("nothing")):
        with pytest.raises(NotFound):
            await asked
    assert (await elsewhere.page(after="", limit=10))[1] == []
    assert [key.id for key in (await world.store.keys(GROWTH).page(after="", limit=10))[1]] == [row.id]
    with pytest.raises(NotFound):
        await made(world, NamespaceId("nowhere"))


async def test_what_has_long_not_been_in_force_is_forgotten(world: World) -> None:
    _, expired = await made(world, expires_at=world.clock.at + HOUR)
    _, revoked = await made(world)
    await world.store.keys(None).revoke(revoked.id)
    world.clock.at += KEPT
    _, kept = await made(world)
    listed = [row.id for row in (await world.store.keys(None).page(after="", limit=10))[1]]
    assert sorted(listed) == sorted([expired.id, revoked.id, kept.id])
    world.clock.at += HOUR + 1
    _, last = await made(world)
    listed = [row.id for row in (await world.store.keys(None).page(after="", limit=10))[1]]
    assert sorted(listed) == sorted([kept.id, last.id])


async def test_a_file_that_holds_another_key_revokes_the_one_before_and_no_other_s(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    admin, ours, others = world.store.admin(), tmp_path / "ours", tmp_path / "others"
    file, other = await ensure_admin_key(admin, ours), await ensure_admin_key(admin, others)
    first, second = file.read_text().strip(), "any-text-that-is-long-enough"
    file.write_text(second)
    assert await lets_in(world, first), "until the server starts anew"
    await ensure_admin_key(admin, ours)
    assert [await lets_in(world, key) for key in (first, second, other.read_text().strip())] == [False, True, True]
    await ensure_admin_key(admin, ours)
    assert await lets_in(world, second)
    file.write_text(first)
    await ensure_admin_key(admin, ours)
    assert not await lets_in(world, first), "what is revoked stays so"
    assert "admin_key_revoked" in caplog.text


async def test_replicas_that_share_a_key_keep_it(world: World) -> None:
    admin = world.store.admin()
    for host in ("a", "b", "a"):
        row = await admin.adopt_key("the shared one", f"{host}:/data/admin.key")
        assert row.revoked_at is None
    assert len((await world.store.keys(None).page(after="", limit=10))[1]) == 1


async def test_uses_are_noted_once_a_minute_and_many_at_once(world: World) -> None:
    uses, keys = LastUse(), world.store.keys(None)
    rows = [(await made(world))[1] for _ in range(3)]
    for row in rows * 5:
        uses.note(world.store.admin(), row, world.clock.at)
    assert uses.writing is not None
    await uses.writing
    noted = [await keys.get(row.id) for row in rows]
    assert {row.last_used_at for row in noted} == {world.clock.at}
    uses.note(world.store.admin(), noted[0], world.clock.at + OFTEN - 1)
    assert uses.writing.done()
    uses.note(world.store.admin(), noted[0], world.clock.at + OFTEN)
    await uses.writing
    assert (await keys.get(noted[0].id)).last_used_at == world.clock.at + OFTEN


async def test_a_namespace_goes_only_when_nothing_is_in_it(world: World) -> None:
    namespaces = world.store.namespaces()
    await namespaces.create(GROWTH, "UTC", "{}")
    with pytest.raises(Conflict, match="exists"):
        await namespaces.create(GROWTH, "UTC", "{}")
    with pytest.raises(Conflict, match="always"):
        await namespaces.delete("default")
    _, row = await made(world, GROWTH)
    with pytest.raises(Conflict, match="keys"):
        await namespaces.delete(GROWTH)
    await world.store.keys(GROWTH).revoke(row.id)
    await namespaces.delete(GROWTH)
    for asked in (namespaces.get(GROWTH), namespaces.delete(GROWTH), world.store.keys(None).get(row.id)):
        with pytest.raises(NotFound):
            await asked


async def test_nothing_comes_into_a_namespace_that_is_gone(world: World) -> None:
    with pytest.raises(NotFound, match="no namespace"):
        await world.store.namespace(GROWTH).calendars().delete("uk")
    with pytest.raises(NotFound, match="no namespace"):
        await world.store.namespace(GROWTH).terms()
