"""Callables, most with a vice."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from os import system  # noqa: F401 - what a module imports must not be callable from outside
from pathlib import Path
from typing import Any, Never

CALLS: list[int] = []


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words for it")


class Greeting:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<Greeting of {self.name}>"


def greet(name: str, *, input: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 - the contract's word
    print("greeting", name)
    return {"hello": name, "input": input}


async def greet_later(name: str, **rest: Any) -> str:
    await asyncio.sleep(0)
    return f"later, {name}: {sorted(rest)}"


def plain(count: int = 1) -> int:
    CALLS.append(count)
    return len(CALLS)


def my_pid() -> int:
    return os.getpid()


def which_run() -> list[str]:
    return [os.environ["SCHEDULER_RUN_ID"], os.environ["SCHEDULER_ATTEMPT"], os.environ.get("SERVER_SECRET", "none")]


def fail(message: str) -> Never:
    print("before")
    raise ValueError(message)


def interrupt() -> Never:
    raise KeyboardInterrupt


def leave(code: Any) -> Never:
    sys.exit(code)


def vanish(code: int) -> Never:
    print("about to vanish", flush=True)
    os._exit(code)


def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def unwritable() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


def odd_values() -> list[Any]:
    return [Greeting("us"), {1, 2}.__class__, threading.Lock().__class__.__name__]


def unspeakable() -> Unspeakable:
    return Unspeakable()


def huge(size: int) -> str:
    print("p" * 1000)
    return "x" * size


def chatty(lines: int) -> str:
    for _ in range(lines):
        print("y" * 100)
    return "the end"


def endless() -> None:
    while True:
        print("z" * 1000)


def close_stdout() -> str:
    sys.stdout.close()
    os.close(1)
    os.close(2)
    return "closed"


def close_everything() -> None:
    os.closerange(3, 256)


def fork_and_return() -> str:
    return "parent" if os.fork() else "child"


def fork_and_raise() -> str:
    if not os.fork():
        raise RuntimeError("the child's own")
    return "parent"


def fork_and_stay(marks: str) -> str:
    sleeper = subprocess.Popen(["/bin/sleep", "1000"])
    Path(marks).write_text(str(sleeper.pid))
    return "left one behind"


def daemonize(marks: str) -> str:
    """Leave an orphan in a session of its own, which keeps the output open."""
    script = f'setsid sh -c \'echo $$ >"{marks}"; exec sleep 1000\' & while [ ! -s "{marks}" ]; do sleep 0.01; done'
    subprocess.run(["/bin/sh", "-c", script], check=True)
    return "left a daemon"


def daemonize_from_afar(marks: str) -> str:
    """Leave one that nobody finds among our children."""
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans go to somebody else
    return daemonize(marks)


def hang(marks: str) -> None:
    sleeper = subprocess.Popen(["/bin/sleep", "1000"])
    Path(marks).write_text(f"{os.getpid()} {sleeper.pid}")
    time.sleep(1000)


def hang_stubbornly(marks: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(marks).write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


async def hang_async(marks: str) -> None:
    await asyncio.to_thread(Path(marks).write_text, str(os.getpid()))
    await asyncio.Event().wait()


def generator() -> Iterator[int]:
    yield 1


def read_stdin() -> str:
    return sys.stdin.read()


not_callable = 1
