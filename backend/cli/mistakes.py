"""What is wrong with a command line, in our words: the argument parser's own are for its users' programmers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, get_args

from cyclopts import App
from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)

PROGRAM = "scheduler"
NEAR = 0.7
CONNECTION = ("--url", "--api-key", "--namespace")
LOCAL = (f"{PROGRAM} serve", f"{PROGRAM} db ")


def at_least_one(_type: Any, value: int | None) -> None:  # noqa: ANN401 - the parser's signature
    """Refuse a count below 1."""
    if value is not None and value < 1:
        raise ValueError("give 1 or more")


def worded(error: CycloptsError) -> str:
    """Say what is wrong, and what would be right."""
    command = " ".join((PROGRAM, *(error.command_chain or ())))
    match error:
        case UnknownCommandError():
            return _unknown_command(error)
        case UnknownOptionError():
            return _unknown_option(error, command)
        case MissingArgumentError():
            return _missing(error, command)
        case UnusedCliTokensError():
            return f"what is {' '.join(error.unused_tokens or ())!r}? see {command} --help"
    return _of_a_value(error)


def _of_a_value(error: CycloptsError) -> str:
    match error:
        case RepeatArgumentError():
            return f"{error.token.keyword or _name(error)} is given twice"
        case ValidationError():
            return f"{_name(error)}: {error.exception_message}"
        case CoercionError():
            return _not_of_its_type(error)
    return str(error)


def _unknown_command(error: CycloptsError) -> str:
    (word, *_) = error.unused_tokens or [""]
    known = _commands(error.app) if error.app else []
    near = _near(word, known)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
    return f"there is no command {word!r}; {hint}"


def _commands(app: App) -> list[str]:
    return [name for name in app if not name.startswith("-")]


def _unknown_option(error: UnknownOptionError, command: str) -> str:
    word = error.token.keyword or error.token.value
    if word.partition("=")[0] in CONNECTION and command.startswith(LOCAL):
        ours = "the database of this machine's settings (SCHEDULER_DATABASE_URL)"
        return f"{command} works on {ours}, not on a server elsewhere; leave {word} out"
    near = _near(word, (name for argument in error.argument_collection for name in argument.names))
    return f"there is no option {word}; " + (f"did you mean {near}?" if near else f"see {command} --help")


def _missing(error: MissingArgumentError, command: str) -> str:
    name = error.keyword or _name(error)
    if error.keyword:
        return f"{name} needs a value; see {command} --help"
    words = f"{name} {name.lstrip('-').upper()}" if name.startswith("-") else name
    return f"{command.removeprefix(PROGRAM).strip()} needs {_article(name)}{name}: {command} {words}"


def _article(name: str) -> str:
    if name.startswith("-"):
        return ""
    return "an " if name[0] in "AEIOU" else "a "


def _not_of_its_type(error: CoercionError) -> str:
    value = error.token.value if error.token else ""
    choices = [str(choice) for choice in get_args(error.target_type)]
    kinds = {int: "is not a whole number", float: "is not a number"}
    rule = kinds.get(error.target_type or str, f"is not one of {', '.join(choices)}" if choices else "is not accepted")
    return f"{_name(error)}: {value!r} {rule}"


def _name(error: CycloptsError) -> str:
    if isinstance(error, CoercionError) and error.token and error.token.keyword:
        return error.token.keyword
    return error.argument.name if error.argument else "the command line"


def _near(word: str, known: Iterable[str]) -> str | None:
    names: Iterator[str] = (name for name in known if name)
    return next(iter(get_close_matches(word, list(names), n=1, cutoff=NEAR)), None)
