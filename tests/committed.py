"""Checks what is committed: no host of a package registry, no path of one machine, no lock file with addresses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

# Written in pieces, so that this file does not find itself.
HOSTS = re.compile(
    r"(pypi\." + r"org|files\.pythonhosted|registry\.npmjs|deb\.debian\." + r"org|index-" + r"url|find-" + r"links)"
)
PATHS = re.compile(r"(?<![\w.])/(root|home|work)" + r"/\w+")
FORBIDDEN_FILES = {"uv.lock", "pylock.toml", "package-lock.json"}


def main() -> int:
    """Print each finding; answer how the process should exit."""
    names = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True, text=True).stdout.split("\0")
    findings = [finding for name in names if name for finding in findings_in(Path(name))]
    print("\n".join(findings) or f"{len(names) - 1} committed files are clean")
    return 1 if findings else 0


def findings_in(path: Path) -> list[str]:
    """Name the lines of one file that may not be committed."""
    if path.name in FORBIDDEN_FILES:
        return [f"{path}: holds addresses of a registry"]
    if not path.is_file():
        return []
    lines = path.read_text(errors="replace").splitlines()
    return [
        f"{path}:{n}: {line.strip()[:120]}"
        for n, line in enumerate(lines, 1)
        if HOSTS.search(line) or PATHS.search(line)
    ]


if __name__ == "__main__":
    sys.exit(main())
