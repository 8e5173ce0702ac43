"""Reads the files that `apply` takes, and knows on which line everything stands.

Plain scalars mean what they mean in YAML 1.2's core schema: `on` and `yes` are text, `010` is ten, and a time
stays the text that was written, because the server reads it in the zone that stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from backend.cli.failures import WrongUsage

LARGEST = 32 * 2**20
DEEPEST = 100
TOO_DEEP = f"it is nested more than {DEEPEST} deep"
MOST_VALUES = 2_000_000
"""Values a file may have once its aliases are written out; ten thousand schedules have a tenth of that."""

_STR, _NULL, _BOOL, _INT, _FLOAT, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("str", "null", "bool", "int", "float", "merge")
)
_CORE = (
    (_NULL, r"~|null|Null|NULL|", "~nN\0"),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", "tTfF"),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (_FLOAT, r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    (_MERGE, r"<<", "<"),
)
_PATH = re.compile(r"[^.\[\]]+")

Value = Any  # what JSON decodes to
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser where there is one


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, starts in _CORE:
        for start in starts.replace("\0", ""):
            table.setdefault(start, []).append((tag, re.compile(rf"(?:{pattern})\Z")))
    table[""] = [(_NULL, re.compile(r"\Z"))]
    return table


class _CoreLoader(_Base):  # type: ignore[misc] # chosen at run time
    yaml_implicit_resolvers = _resolvers()
    depth = 0

    # The C parser composes nodes recursively without a limit, and would take the process down with it.
    def descend_resolver(self, parent: yaml.Node | None, _: object) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            mark = parent.start_mark if parent else None
            raise yaml.MarkedYAMLError(problem=TOO_DEEP, problem_mark=mark)

    def ascend_resolver(self) -> None:
        self.depth -= 1


@dataclass(frozen=True)
class ScheduleFile:
    """A file's schedules, as the server is sent them, and the nodes they came from."""

    name: str
    schedules: list[dict[str, Any]]
    root: yaml.MappingNode

    def line_of(self, field: str) -> int:
        """Find the line of a field such as `schedules[2].triggers[0].expression`, or of what should hold it."""
        node: yaml.Node = self.root
        line = 1
        for part in _PATH.findall(field):
            # A part that is not in the file, such as the kind in triggers[0].cron.expression, is passed over.
            if (step := _step(node, part)) is not None:
                line, node = step
        return line


def _step(node: yaml.Node, part: str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and part.isdecimal() and int(part) < len(node.value):
        item = node.value[int(part)]
        return _line(item), item
    if isinstance(node, yaml.MappingNode):
        own = [(_line(key), value) for key, value in node.value if key.value == part]
        return own[0] if own else _merged_step(node, part)
    return None


def _merged_step(node: yaml.MappingNode, part: str) -> tuple[int, yaml.Node] | None:
    merged = [value for key, value in node.value if key.tag == _MERGE]
    candidates = [item for value in merged for item in (value.value if value.id == "sequence" else [value])]
    return next((step for item in candidates if (step := _step(item, part)) is not None), None)


def read_schedules(name: str, content: bytes) -> ScheduleFile:
    """Read a file; WrongUsage with its line when it is not a list of schedules with ids of their own."""
    root = _compose(name, content)
    if not isinstance(root, yaml.MappingNode):
        raise _wrong(name, root, "the file is not a mapping; begin it with `schedules:`")
    document = _Reader(name).value(root, 0)
    for key, _ in root.value:
        if key.value != "schedules":
            raise _wrong(name, key, f"there is no {key.value!r} in such a file; it has `schedules:` alone")
    nodes = _entries(name, root, document)
    _check_ids(name, nodes, document["schedules"])
    return ScheduleFile(name, document["schedules"], root)


def _compose(name: str, content: bytes) -> yaml.Node | None:
    if len(content) > LARGEST:
        raise WrongUsage(f"{name}: the file is larger than 32 MiB; split it")
    text = _decode(name, content)
    loader = _CoreLoader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise WrongUsage(f"{name}:{mark.line + 1 if mark else 1}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise WrongUsage(f"{name}: not YAML: {str(error).partition(chr(10))[0]}") from None
    finally:
        loader.dispose()
    return node


def _decode(name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise WrongUsage(
            f"{name}:{line}: not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8"
        ) from None
    for number, line_text in enumerate(text.split("\n") if "\0" in text else (), 1):
        if "\0" in line_text:
            raise WrongUsage(f"{name}:{number}: a NUL character; leave it out")
    return text


def _entries(name: str, root: yaml.MappingNode, document: dict[str, Any]) -> list[yaml.Node]:
    found = [value for key, value in root.value if key.value == "schedules"]
    if not found:
        raise _wrong(name, root, "there is no `schedules:` with a list")
    if document["schedules"] is None:
        document["schedules"] = []
        return []
    if not isinstance(found[-1], yaml.SequenceNode):
        raise _wrong(name, found[-1], "`schedules:` is not a list; begin each schedule with `- id:`")
    return list(found[-1].value)


def _check_ids(name: str, nodes: list[yaml.Node], schedules: list[Any]) -> None:
    lines: dict[str, int] = {}
    for node, schedule in zip(nodes, schedules, strict=True):
        if not isinstance(schedule, dict):
            raise _wrong(name, node, "a schedule is not a mapping; begin it with `- id:`")
        id_ = schedule.get("id")
        if not isinstance(id_, str) or not id_:
            raise _wrong(name, node, "a schedule has no `id:` that is text; a file's schedules all need one")
        if id_ in lines:
            raise _wrong(name, node, f"the id {id_!r} is that of line {lines[id_]} already; give each its own")
        lines[id_] = _line(node)


class _Reader:
    """Turns nodes into values, and counts them: ten lines of aliases can stand for billions."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = MOST_VALUES

    def value(self, node: yaml.Node, depth: int) -> Value:
        self._count(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, depth)
        return self._scalar(node)

    def _count(self, node: yaml.Node, depth: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise _wrong(self._name, node, f"with its aliases the file has more than {MOST_VALUES} values; split it")
        if depth > DEEPEST:
            raise _wrong(self._name, node, f"{TOO_DEEP}, or an alias holds itself")

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for part in self._merged(value, depth + 1):
                    merged = self._mapping(part, depth + 1) | merged
                continue
            name = self._key(key)
            if name in own:
                raise _wrong(self._name, key, f"{name!r} is given twice in one mapping; keep one")
            own[name] = self.value(value, depth + 1)
        return merged | own

    def _merged(self, value: yaml.Node, depth: int) -> Iterator[yaml.MappingNode]:
        for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(part, yaml.MappingNode):
                raise _wrong(self._name, part, "`<<` is not followed by a mapping or a list of them")
            self._count(part, depth)
            yield part

    def _key(self, key: yaml.Node) -> str:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong(self._name, key, "a key is not text; quote it")
        return str(key.value)

    def _scalar(self, node: yaml.Node) -> Value:
        text = str(node.value)
        match node.tag:
            case tag if tag == _STR:
                return text
            case tag if tag == _NULL:
                return None
            case tag if tag == _BOOL:
                return text.lower() == "true"
            case tag if tag in (_INT, _FLOAT):
                return self._number(node, text)
        raise _wrong(self._name, node, f"the tag {node.tag} is not accepted here; leave it out")

    def _number(self, node: yaml.Node, text: str) -> int | float:
        try:
            if node.tag == _FLOAT:
                return float(text)
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            return int(text, base)
        except ValueError:
            raise _wrong(self._name, node, f"{text[:40]!r} is no number; quote it if it is text") from None


def _line(node: yaml.Node | None) -> int:
    return 1 if node is None else int(node.start_mark.line) + 1


def _wrong(name: str, node: yaml.Node | None, text: str) -> WrongUsage:
    return WrongUsage(f"{name}:{_line(node)}: {text}")
