"""A helper process that outlives the server by an instant, and kills the commands it left behind.

It reads lines from standard input and acts at the end of input, which comes when the server is gone, however it went:

    ?NUMBER MARK    a command is about to start, with MARK in its environment
    +NUMBER PGID    it has started and leads this process group
    -NUMBER         it is over

Run as a plain script; it imports next to nothing, so that it is small and quick to start.
"""

import os
import select
import signal

SCANS = 20
SCAN_SECONDS = 0.05
MARK = "SCHEDULER_WARD"


def watch(source: int) -> tuple[dict[str, int], dict[str, str]]:
    """Read lines until the server is gone; return the groups and the unanswered marks that remain."""
    groups: dict[str, int] = {}
    marks: dict[str, str] = {}
    rest = b""
    while chunk := _read(source):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            note(line.decode(), groups, marks)
    return groups, marks


def _read(source: int) -> bytes:
    try:
        return os.read(source, 65536)
    except OSError:
        return b""


def note(line: str, groups: dict[str, int], marks: dict[str, str]) -> None:
    """Take down one line."""
    number, _, value = line[1:].partition(" ")
    marks.pop(number, None)
    groups.pop(number, None)
    if line[:1] == "?":
        marks[number] = value
    elif line[:1] == "+":
        groups[number] = int(value)


def groups_marked(mark: str) -> set[int]:
    """Find the groups of processes that carry a mark in their environment."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as environ:
                if f"{MARK}={mark}".encode() in environ.read().split(b"\0"):
                    found.add(os.getpgid(int(name)))
        except OSError:  # it ended while we looked, or belongs to somebody else
            continue
    return found


def kill(groups: set[int]) -> None:
    """Kill process groups, never our own or one that `killpg` would take for many."""
    for group in groups - {0, 1, os.getpgrp()}:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            continue


def kill_marked(marks: set[str]) -> None:
    """Kill what was starting when the server died, which may take a moment to show its mark."""
    for _ in range(SCANS):
        for mark in list(marks):
            if found := groups_marked(mark):
                kill(found)
                marks.remove(mark)
        if not marks:
            return
        select.select([], [], [], SCAN_SECONDS)


def main() -> None:
    """Wait for the server's end, then leave nothing of its commands."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups, marks = watch(0)
    kill(set(groups.values()))
    kill_marked(set(marks.values()))


if __name__ == "__main__":
    main()
