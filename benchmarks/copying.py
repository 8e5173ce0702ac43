"""Fills tables by set-based SQL, on either database: what a benchmark finds there is not what it measures."""

from __future__ import annotations

from collections.abc import Mapping

from tests.databases import sql


def on_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def columns_of(url: str, table: str) -> list[str]:
    """Name the columns of a table, without the key that the database gives itself."""
    if on_sqlite(url):
        names = sql(url, "select name from pragma_table_info(?)", table)
    else:
        named = (
            "select attname from pg_attribute where attrelid = $1::text::regclass and attnum > 0 and not attisdropped"
        )
        names = sql(url, named, f"scheduler.{table}")
    return [name for (name,) in names if name != "key"]


def copy(url: str, table: str, number: int, changed: Mapping[str, str]) -> None:
    """Copy the one row of a table; `changed` gives the columns that differ, for the copy `n.n` of the row `s`."""
    columns = columns_of(url, table)
    chosen = ", ".join(changed.get(column, f"s.{column}") for column in columns)
    insert = f"insert into {table} ({', '.join(columns)}) select {chosen} from {table} s, "
    sql(url, *numbered(url, insert, number))


def numbered(url: str, insert: str, number: int) -> tuple[str]:
    """Complete an insert that selects from `n (n)`, the numbers from 1."""
    if on_sqlite(url):
        counting = f"with recursive n (n) as (select 1 union all select n + 1 from n where n < {number}) "
        return (f"{counting}{insert} n",)
    return (f"{insert} generate_series(1::bigint, {number}) n (n)",)
