"""The child of the `python` target: takes calls from the server, one at a time, and answers each.

    call     8 bytes with the length of what follows, and with them the descriptor that output goes to;
             then JSON: path, prefixes, module, function, args, input, env
    answer   8 bytes with the length of what follows; then JSON: error, permanent, report, cut, left

The socket is found as standard input. At its end, which comes when the server is gone or has no more calls, the
child ends. Run as a plain script; it imports little, since the callable's own module is what takes time.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import inspect
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TextIO

LENGTH_BYTES = 8
MOST_BYTES = 64 * 1024
SUMMARY_BYTES = 4 * 1024
FRAMES = 20
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Refusal(Exception):
    """The callable cannot be called, and will not be the next time either."""


def within(module: str, prefixes: Sequence[str]) -> bool:
    """Say whether a module is one of `prefixes`, or below one.

    >>> within("app.jobs.mail", ["app.jobs"]), within("app.jobsx", ["app.jobs"])
    (True, False)
    """
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def find(module_name: str, name: str, prefixes: Sequence[str]) -> Callable[..., Any]:
    """Import the module and give its callable; Refusal when there is none that may be called."""
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and within(module_name, [error.name]):
            raise Refusal(f"there is no module {error.name}") from None
        raise
    found: Any = getattr(module, name, None)
    if not callable(found):
        raise Refusal(f"{module_name} has no callable {name}")
    # What a module has imported from elsewhere is not meant by those who allowed the module: os.system is not.
    owner = str(getattr(found, "__module__", None))
    if not within(owner, prefixes):
        raise Refusal(f"{module_name}:{name} comes from {owner}, which SCHEDULER_PYTHON_TARGETS does not allow")
    if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise Refusal(f"{module_name}:{name} is a generator, of which a call runs nothing")
    function: Callable[..., Any] = found
    return function


def arguments(function: Callable[..., Any], args: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Put the keyword arguments together; `input` goes to those who take it."""
    with_input = {**args, "input": given}
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C, and says nothing of itself
        return with_input
    takes_input = any(
        parameter.kind is parameter.VAR_KEYWORD
        or (parameter.name == "input" and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD))
        for parameter in signature.parameters.values()
    )
    if not takes_input and given:
        raise Refusal("the run has an input, but the callable takes no argument called input")
    chosen = with_input if takes_input else dict(args)
    try:
        signature.bind(**chosen)
    except TypeError as error:
        raise Refusal(f"args do not fit the callable: {error}") from None
    return chosen


def perform(call: Mapping[str, Any]) -> dict[str, Any]:
    """Make the call and say how it went; whatever is raised becomes an answer."""
    try:
        function = find(call["module"], call["function"], call["prefixes"])
        value = function(**arguments(function, call["args"], call["input"]))
        return answer(written(finished(value)))
    except Refusal as refusal:
        return answer("", error=str(refusal), permanent=True)
    except SystemExit as leaving:
        return answer("") if leaving.code in (None, 0) else answer("", error=f"SystemExit: {leaving.code}")
    except BaseException as error:  # it is the callable's, and there is nobody above us to tell
        return answer(told(error), error=summary(error))


def finished(value: Any) -> Any:  # noqa: ANN401 - whatever was returned
    """Run what an async callable returned to its end."""
    if not inspect.isawaitable(value):
        return value
    import asyncio  # noqa: PLC0415 - only async callables pay for it

    async def to_the_end() -> Any:  # noqa: ANN401
        return await value

    return asyncio.run(to_the_end())


def written(value: Any) -> str:  # noqa: ANN401
    """Write a return value as JSON; what JSON does not know stands there as its `repr`."""
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=repr)


def summary(error: BaseException) -> str:
    """Name an exception and its message."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be read)"
    name = type(error).__qualname__[:SUMMARY_BYTES]
    return cut(f"{name}: {message[:SUMMARY_BYTES]}" if message else name, SUMMARY_BYTES)


def cut(text: str, most: int) -> str:
    """Keep the beginning of a text, at most so many bytes as UTF-8; lone surrogates become question marks."""
    return text[:most].encode(errors="replace")[:most].decode(errors="ignore")


def told(error: BaseException) -> str:
    """Write the innermost frames of a traceback, without our own."""
    ours, frames = __file__, error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == ours:
        frames = frames.tb_next
    return _formatted(error, frames)


def _formatted(error: BaseException, frames: TracebackType | None) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, frames, limit=-FRAMES))
    except Exception:
        return summary(error)


def answer(report: str, *, error: str | None = None, permanent: bool = False) -> dict[str, Any]:
    """Build an answer. A long report loses its end, that of a failure its beginning: the last lines say most."""
    encoded = report.encode(errors="replace")
    kept = encoded[:MOST_BYTES] if error is None else encoded[-MOST_BYTES:]
    return {
        "error": None if error is None else cut(error, SUMMARY_BYTES),
        "permanent": permanent,
        "report": kept.decode(errors="ignore"),
        "cut": len(kept) < len(encoded),
    }


def leftovers() -> bool:
    """Reap children that have ended, and say whether others run on. As subreaper we are the parent of all orphans."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def serve(link: socket.socket) -> None:
    """Answer calls until there are no more."""
    ourselves, nothing = os.getpid(), os.open(os.devnull, os.O_WRONLY)
    while (taken := take(link)) is not None:
        call, output = taken
        sys.path[:] = call["path"]
        os.environ.update(call["env"])  # noqa: TID251 - this process is not the server
        speak_to(output)
        os.close(output)
        said = perform(call)
        if os.getpid() != ourselves:
            os._exit(0)  # a fork of the callable's came back from it; only one of us may answer
        speak_to(nothing)
        give(link, {**said, "left": leftovers()})


def speak_to(descriptor: int) -> None:
    """Send what is printed from now on to `descriptor`, whatever the callable did to its streams."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream: TextIO | None = getattr(sys, name)
        with contextlib.suppress(Exception):
            if stream is not None:
                stream.flush()
        os.dup2(descriptor, number)
        if stream is None or getattr(stream, "closed", True):
            file = open(number, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115 - lives as we do
            setattr(sys, name, file)


def take(link: socket.socket) -> tuple[dict[str, Any], int] | None:
    """Read one call, with the descriptor for its output; None at the end."""
    head, descriptors, _, _ = socket.recv_fds(link, LENGTH_BYTES, 1)
    if len(head) < LENGTH_BYTES or not descriptors:
        return None
    body = bytearray()
    length = int.from_bytes(head, "big")
    while len(body) < length:
        if not (chunk := link.recv(min(length - len(body), 1 << 20))):
            return None
        body += chunk
    return json.loads(body), descriptors[0]


def give(link: socket.socket, said: Mapping[str, Any]) -> None:
    """Send an answer."""
    body = json.dumps(said).encode()
    link.sendall(len(body).to_bytes(LENGTH_BYTES, "big") + body)


def main() -> None:
    """Answer calls that come over standard input."""
    link = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    faulthandler.enable(all_threads=False)
    with contextlib.suppress(ConnectionError):
        serve(link)


if __name__ == "__main__":
    main()
