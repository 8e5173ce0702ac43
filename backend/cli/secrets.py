"""The commands on secrets. Values come from a file or standard input, never from the command line."""

from __future__ import annotations

import sys
from secrets import token_hex
from typing import Annotated, Any

from cyclopts import Parameter

from backend.cli.apply import STDIN, read_bytes
from backend.cli.failures import WrongUsage
from backend.cli.options import DEFAULTS, AsJson, Common, connect
from backend.cli.output import Column, Row, print_json, print_line, print_table, tell

Json = dict[str, Any]
LARGEST = 64 * 1024

Name = Annotated[str, Parameter(name="NAME", help="Name of the secret.")]


def list_(*, common: Common = DEFAULTS) -> None:
    """List the secrets, without their values."""
    tell(connect(common).collect("secrets", query={}, limit=None), show_list, as_json=common.json)


def put(
    name: Name,
    file: Annotated[
        str,
        Parameter(
            name="FILE",
            allow_leading_hyphen=True,
            help="Holds the value; - is standard input. A line break at its end is left out.",
        ),
    ] = STDIN,
    /,
    *,
    common: Common = DEFAULTS,
) -> None:
    """Make or replace a secret, from a file or standard input."""
    if file == STDIN and sys.stdin.isatty():
        print_line("type the value, then Ctrl-D", "dim")
    answer = connect(common).put("secrets", name, body={"value": value_of(file, read_bytes(file))})
    tell(answer, lambda secret: print_line(f"stored {secret['name']}"), as_json=common.json)


def value_of(file: str, content: bytes) -> str:
    """Read a value; what is wrong is told without it."""
    where = "standard input" if file == STDIN else file
    if len(content) > LARGEST:
        raise WrongUsage(f"{where}: the value is larger than 64 KiB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise WrongUsage(f"{where}: the value is not UTF-8; encode it, such as in base64") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise WrongUsage(f"{where} is empty; give the value of the secret")
    return text


def delete(name: Name, /, *, common: Common = DEFAULTS) -> None:
    """Delete a secret that no schedule uses."""
    connect(common).delete("secrets", name)
    tell({"name": name, "deleted": True}, lambda _: print_line(f"deleted {name}"), as_json=common.json)


def show_list(page: Json) -> None:
    """Print a row for each secret."""
    columns = [Column("NAME", flexible=True), Column("KEY"), Column("UPDATED"), Column("BY")]
    rows = [Row((one["name"], one["key_id"], one["updated_at"], one["updated_by"])) for one in page["items"]]
    if rows:
        print_table(columns, rows)
    else:
        print_line("no secrets")


def make_key(
    *,
    key_id: Annotated[
        str,
        Parameter(name="--id", help="What the key is called, such as a date; otherwise k and six digits at random."),
    ] = "",
    json: AsJson = False,
) -> None:
    """Print a new key for SCHEDULER_SECRET_KEYS, whose first entry encrypts; the others still decrypt."""
    from backend.store.keyring import make_key as made  # noqa: PLC0415 - slow to import

    # Named anew each time: a list of keys has no two of one id.
    key_id = key_id or f"k{token_hex(3)}"
    if not key_id.replace("-", "").replace(".", "").replace("_", "").isalnum() or len(key_id) > 50:
        raise WrongUsage("--id has up to 50 letters, digits and . _ - ")
    key = made(key_id)
    if json:
        print_json({"key": key})
    else:
        print_line(key)


def reencrypt(*, json: AsJson = False) -> None:
    """Encrypt the secrets of the configured database anew, all that the first of SCHEDULER_SECRET_KEYS has not."""
    import asyncio  # noqa: PLC0415 - slow to import

    from backend.settings import load_settings  # noqa: PLC0415 - slow to import
    from backend.store.keyring import KeyRing  # noqa: PLC0415 - slow to import

    settings = load_settings()
    count = asyncio.run(_reencrypted(settings.database_url, KeyRing(settings.secret_keys)))
    if json:
        print_json({"reencrypted": count})
    else:
        print_line(f"{count} encrypted anew" if count else "all are encrypted with the first key already")


async def _reencrypted(url: str, ring: Any) -> int:  # noqa: ANN401 - its type is slow to import
    from backend.store.open import open_store  # noqa: PLC0415 - slow to import

    store = await open_store(url)
    try:
        count: int = await store.admin().reseal(ring.first, ring.resealed)
        return count
    finally:
        store.close()
