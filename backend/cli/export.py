"""The command that writes schedules as a file that `apply` takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from cyclopts import Parameter

from backend.cli.failures import Failure, WrongUsage
from backend.cli.options import DEFAULTS, Common, connect
from backend.cli.output import counted, print_error, print_json, print_line
from backend.cli.schedules import ALL, Filters

if TYPE_CHECKING:
    from pydantic import BaseModel

Json = dict[str, Any]
# Written even where it is the default: it tells kinds apart, or its default is a setting and may differ elsewhere.
ALWAYS = frozenset({"kind", "timezone", "retry"})
# Text that is text to every reader without quotes. YAML 1.1 and 1.2 differ about too much else: 1:30, 0o17, 1e3, on.
SAFE = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*", re.ASCII)
UNSAFE = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})


def export(
    *,
    filters: Filters = ALL,
    output: Annotated[
        str | None, Parameter(name=["--output", "-o"], help="The file to write; standard output unless given.")
    ] = None,
    common: Common = DEFAULTS,
) -> None:
    """Write schedules as a file for `apply`. Applying it to the same server changes but whose they are: the file's."""
    found = connect(common).collect("schedules", query=filters.query(), limit=None)["items"]
    document = {"schedules": definitions(found)}
    paused = [schedule["id"] for schedule in found if schedule["state"] == "paused"]
    if paused:
        print_error(f"note: paused here, which a file cannot say; a new server would run them: {', '.join(paused)}")
    if output is not None:
        _write(output, yaml_text(document))
        written = f"{counted(len(found), 'schedule')} written to {output}"
        print_line(written) if not common.json else print_json(document)
    elif common.json:
        print_json(document)
    else:
        sys.stdout.write(yaml_text(document))


def definitions(found: Sequence[Json]) -> list[Json]:
    """Reduce the server's answers to what was defined, defaults left out; Failure names those that cannot be read."""
    from pydantic import ValidationError  # noqa: PLC0415 - pydantic is slow to import

    from backend.engine.definition import ScheduleDefinition  # noqa: PLC0415 - as above

    read: list[Json] = []
    unreadable: list[str] = []
    for schedule in found:
        try:
            read.append(sparse(ScheduleDefinition.model_validate(schedule)))
        except ValidationError:
            unreadable.append(schedule["id"])
    if unreadable:
        raise Failure(
            f"these schedules have no definition that this program can read: {', '.join(unreadable)}\n"
            "leave them out by a filter such as --state active, or use the program of the server's version"
        )
    return read


def sparse(model: BaseModel) -> Json:
    """Write a model without the fields that have their default."""
    written = model.model_dump(mode="json")
    kept: Json = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if name in ALWAYS or value != field.get_default(call_default_factory=True):
            said = name if name in written else str(field.alias)  # `from`, which Python keeps for itself
            kept[said] = _sparse(value, written[said]) if name != "retry" else written[name]
    return kept


def _sparse(value: object, written: Json | list[Json]) -> object:
    from pydantic import BaseModel  # noqa: PLC0415 - slow to import

    if isinstance(value, BaseModel):
        return sparse(value)
    if isinstance(value, tuple) and isinstance(written, list):
        return [_sparse(*pair) for pair in zip(value, written, strict=True)]
    return written


def yaml_text(document: Json) -> str:
    """Write YAML that readers of 1.1 and 1.2 read alike: text is quoted, but for plain words."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**30))


class _Dumper(yaml.SafeDumper):
    """Writes each value where it stands, without aliases, and lists below their key indented."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002 - as in yaml
        del indentless
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = SAFE.fullmatch(text) is not None and text.lower() not in UNSAFE
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def _write(output: str, text: str) -> None:
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise WrongUsage(f"{output}: it cannot be written ({error.strerror})") from error
