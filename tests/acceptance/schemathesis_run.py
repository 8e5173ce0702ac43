"""Runs Schemathesis over the whole OpenAPI document of a real server: `make schemathesis`.

`python -m tests.acceptance.schemathesis_run [sqlite|postgres] [SECONDS] [SEED]`
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.acceptance.server import Server
from tests.databases import SQLITE, everything_on

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
TEN_MINUTES = 600


def run(server: Server, seconds: int, seed: int, *more: str) -> subprocess.CompletedProcess[str]:
    """Send what the document allows, and what it does not, for a while; every answer must be as documented."""
    host, port = server.where
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIGURATION)),
        *("run", f"http://{host}:{port}/openapi.json", "--header", f"X-API-Key: {server.key}"),
        *("--header", f"Authorization: Bearer {server.key}"),
        *("--max-time", str(seconds), "--seed", str(seed), "--no-color", *more),
    ]
    longest = 3 * seconds + 120
    return subprocess.run(command, cwd=server.folder, capture_output=True, text=True, timeout=longest, check=False)


def serve(folder: Path) -> Server:
    """Start a server that fires nothing at anybody: it allows no private address, and no public one is there."""
    return Server(folder, allow_commands="false", allow_private_urls="false").ready()


def main(kind: str = SQLITE, seconds: str = str(TEN_MINUTES), seed: str = "") -> int:
    """Run it, and print what it found."""
    with tempfile.TemporaryDirectory() as name, everything_on(kind), serve(Path(name)) as server:
        done = run(server, int(seconds), int(seed or random.randrange(2**31)))
        print(done.stdout, done.stderr, server.errors[-3000:], sep="\n")
        ended = server.process.poll() is not None
    return done.returncode or int(ended)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
