"""What of PostgreSQL's errors may pass by itself, and what would only be met again."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from backend.errors import ConfigurationError, StoreUnavailable
from backend.store.operation import Operation, Query, Row, Statement
from backend.store.postgres.failures import answering, opening
from backend.store.postgres.runner import PostgresRunner, open_runner
from backend.store.postgres.statements import compiled, load_statements
from backend.store.postgres.url import read_url
from tests.databases import POSTGRES, database

PASS = """
08000 08001 08003 08004 08006 08007 08P01
25006 25P03 25P04 28000 28P01 3D000 40001 40003 40P01
53000 53100 53200 53300 55006 55P03
57000 57014 57P01 57P02 57P03 57P04 57P05 58000 58030 72000
""".split()  # noqa: SIM905 - a table to be read
STAY = """
0A000 0L000 0P000 21000 22000 22001 22003 22021 22P02 22P05 23502 23503 23505 23514
25000 25001 25P01 25P02 26000 2BP01 34000 3B000 3F000 40000 40002 42501 42601 42703 42883 42P01 42P05 44000
53400 54000 54001 54011 54023 55000 55P02 55P04 58P01 58P02 58P03 F0000 HV000 P0001 XX000 XX001 XX002
""".split()  # noqa: SIM905 - a table to be read


def raised(state: str) -> asyncpg.PostgresError:
    error: asyncpg.PostgresError = asyncpg.PostgresError.new({"C": state, "M": f"state {state}"})
    assert error.sqlstate == state
    return error


@pytest.mark.parametrize("state", PASS)
def test_what_may_pass_is_a_store_that_is_unavailable(state: str) -> None:
    with pytest.raises(StoreUnavailable, match=state), answering():
        raise raised(state)


@pytest.mark.parametrize("state", STAY)
def test_what_the_next_try_would_meet_again_is_raised_as_it_is(state: str) -> None:
    with pytest.raises(asyncpg.PostgresError, match=state), answering():
        raise raised(state)


def test_every_state_that_the_driver_knows_of_these_classes_is_judged_here() -> None:
    classes = {state[:2] for state in PASS}
    known = {one.sqlstate for one in vars(asyncpg).values() if isinstance(one, type) and hasattr(one, "sqlstate")}
    of_sessions = {"25002", "25003", "25004", "25005", "25007", "25008"}  # not raised by PostgreSQL
    assert {state for state in known if state and state[:2] in classes} <= {*PASS, *STAY, *of_sessions}


@pytest.mark.parametrize("state", ["0A000", "28000", "28P01", "3D000", "3F000", "42501", "42601"])
def test_what_no_wait_will_mend_is_refused_at_the_start(state: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^SCHEDULER_DATABASE_URL: .*{state}"), opening():
        raise raised(state)


@pytest.mark.parametrize("state", ["08006", "53300", "57P03", "25006"])
def test_what_may_pass_is_waited_for_at_the_start_too(state: str) -> None:
    with pytest.raises(StoreUnavailable), opening():
        raise raised(state)


def test_a_plan_older_than_a_migration_is_made_anew() -> None:
    fields = {"C": "0A000", "M": "cached plan must not change result type", "R": "RevalidateCachedQuery"}
    for judge in (answering, opening):
        with pytest.raises(StoreUnavailable), judge():
            raise asyncpg.PostgresError.new(fields)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("unexpected end"),
        asyncpg.TargetServerAttributeNotMatched("no primary"),
        OSError("unreachable"),
        TimeoutError(),
        ssl.SSLCertVerificationError("expired"),
    ],
)
def test_a_connection_that_is_lost_or_not_to_be_had_may_come_back(error: Exception) -> None:
    with pytest.raises(StoreUnavailable), answering():
        raise error


def test_what_the_driver_cannot_do_is_no_lost_connection() -> None:
    with pytest.raises(ConfigurationError, match="cannot be used"), opening():
        raise asyncpg.ClientConfigurationError("sslmode is bogus")
    with pytest.raises(asyncpg.UnsupportedServerFeatureError), answering():
        raise asyncpg.UnsupportedServerFeatureError("no such feature")


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncIterator[PostgresRunner]:
    with database(POSTGRES, tmp_path) as url:
        runner = await open_runner(read_url(url))
        try:
            yield runner
        finally:
            runner.close()


def ask(name: str) -> Operation[list[Row]]:
    statement: Statement = Query(name, {"number": 2**70})
    return (yield statement)


TRIED = {
    "too long": ("select repeat('x', 2000000000)", "requested length too large"),
    "too deep": ("select " + "1+" * 50_000 + "1", "stack depth"),
    "not supported": ("select count(*) from runs for update", "FOR UPDATE is not allowed"),
    "too large a number": ("select :number::bigint", "invalid input"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("what", TRIED)
async def test_the_database_itself_is_not_taken_for_gone_when_it_cannot_do_a_thing(
    runner: PostgresRunner, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    text, match = TRIED[what]
    monkeypatch.setitem(load_statements().named, "clock_probe", compiled(text))
    with pytest.raises(Exception, match=match) as caught:
        await runner.write(ask("clock_probe"))
    assert not isinstance(caught.value, StoreUnavailable)
