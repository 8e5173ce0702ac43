"""Servers behind PgBouncer in transaction mode, which gives every transaction another connection.

Part of `make soak` only, where PgBouncer has to be installed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.acceptance.server import Server, free_port, until
from tests.databases import placed_url

pytestmark = [pytest.mark.soak, pytest.mark.postgres_only("a pooler stands before PostgreSQL only")]
CONNECTIONS = 3
DUE = 300
CONFIGURATION = """
[databases]
* = host={host} port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
logfile = {folder}/pgbouncer.log
"""


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def pooled(tmp_path: Path, database_of_servers: str) -> Iterator[str]:
    """Start PgBouncer before the test's database and answer the URL that leads through it."""
    program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    assert program, f"install pgbouncer: {database_of_servers} behind it is what this test is about"
    direct = urlsplit(placed_url(tmp_path) or "")
    host = dict(parse_qsl(direct.query)).get("host", direct.hostname)
    folder = tmp_path / "pooler"
    folder.mkdir(mode=0o777)
    for place in (folder, tmp_path, tmp_path.parent, tmp_path.parent.parent):
        place.chmod(0o777 if place == folder else place.stat().st_mode | 0o11)
    listen = free_port()
    text = CONFIGURATION.format(
        host=host, port=direct.port or 5432, listen=listen, connections=CONNECTIONS, folder=folder
    )
    (folder / "pgbouncer.ini").write_text(text)
    # It will not run as root; this user may reach the socket of the server that the tests start.
    user = "pgserver" if os.geteuid() == 0 else None
    pooler = subprocess.Popen([program, "-q", str(folder / "pgbouncer.ini")], user=user)
    try:
        until("PgBouncer", lambda: pooler.poll() is not None or answers(listen))
        yield f"postgresql://postgres@127.0.0.1:{listen}{direct.path}?pgbouncer=true"
    finally:
        pooler.kill()
        pooler.wait()


def test_two_servers_behind_a_pooler_migrate_and_fire_each_occurrence_once(tmp_path: Path, pooled: str) -> None:
    ticking = [{"kind": "interval", "every": "1s"}]
    command = {"kind": "command", "argv": ["true"]}
    with Server(tmp_path, database_url=pooled) as one, Server(tmp_path, database_url=pooled) as two:
        one.ready()
        two.ready()
        one.create("tick", command, triggers=ticking)
        many = [
            {"id": f"s{n}", "target": command, "triggers": [{"kind": "interval", "every": "3s"}]} for n in range(DUE)
        ]
        one.post("/schedules/batch", {"schedules": many})
        until("every schedule's run", lambda: finished(two, "count(distinct schedule_key)") == DUE + 1, 60)
        before = finished(two, "count(*)")
        assert one.stop() == 0
        until("what one server fires alone", lambda: finished(two, "count(*)") > before + DUE, 60)
        audit = two.get("/audit/occurrences")
        assert audit["expected"] > DUE
        assert (audit["missing"], audit["doubled"]) == ([], [])
        [[connected]] = two.query(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
        assert connected <= CONNECTIONS, "somebody went past the pooler"
        assert two.stop() == 0


def finished(server: Server, what: str) -> int:
    return int(server.query(f"select {what} from runs where state = 'succeeded'")[0][0])
