"""An HTTP server that writes down every request and answers as it was told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import uvloop


class Seen(NamedTuple):
    """One request."""

    at: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]

    @property
    def run_id(self) -> str:
        return self.headers["x-run-id"]

    @property
    def schedule_id(self) -> str:
        return self.headers["x-schedule-id"]

    @property
    def attempt(self) -> int:
        return int(self.headers["x-attempt"])


@dataclass(frozen=True)
class Answer:
    """What to answer, `after` so many seconds."""

    status: int = 200
    text: str = ""
    after: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        content = self.text.encode()
        head = [f"HTTP/1.1 {self.status} Answer", f"Content-Length: {len(content)}"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*head, "", ""]).encode() + content


class Sink:
    """Answers 200 unless a path was given answers; of those the last one repeats."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.port = 0
        self._answers: dict[str, list[Answer]] = {}

    def target(self, path: str = "/", **rest: Any) -> dict[str, Any]:
        return {"kind": "http", "url": f"http://127.0.0.1:{self.port}{path}", **rest}

    def on(self, path: str, *answers: Answer | int) -> None:
        self._answers[path] = [Answer(a) if isinstance(a, int) else a for a in answers]

    def at(self, path: str) -> list[Seen]:
        return [request for request in list(self.seen) if request.path == path]

    def by_run(self) -> dict[str, list[Seen]]:
        found: dict[str, list[Seen]] = defaultdict(list)
        for request in list(self.seen):
            found[request.run_id].append(request)
        return found

    def answer_to(self, request: Seen) -> Answer:
        answers = self._answers.get(request.path, [Answer()])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read(reader):
                self.seen.append(request)
                answer = self.answer_to(request)
                if answer.after:
                    await asyncio.sleep(answer.after)
                writer.write(answer.encoded())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the server was killed in the middle, or this sink closes
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Seen(time.monotonic(), method, path, headers, body)


@contextmanager
def listening_sink() -> Iterator[Sink]:
    """Serve from a thread until the block is left."""
    sink, ready, over = Sink(), threading.Event(), asyncio.Event()
    loop = uvloop.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, backlog=2048)
        sink.port = server.sockets[0].getsockname()[1]
        ready.set()
        await over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="sink")
    thread.start()
    try:
        assert ready.wait(10)
        yield sink
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()
