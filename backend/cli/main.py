"""Puts the commands together, runs one of them, and answers with the documented exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from backend.cli import (
    apply,
    audit,
    backfill,
    calendars,
    changes,
    crontab,
    events,
    explain,
    export,
    keys,
    local,
    namespaces,
    notifications,
    preview,
    runs,
    schedules,
    secrets,
    simulate,
    stats,
    workers,
)
from backend.cli.failures import CLOSED_PIPE, DONE, INTERRUPTED, REFUSED, UNREACHABLE, USAGE, Failure, Refused
from backend.cli.mistakes import worded
from backend.cli.output import print_error, print_json
from backend.errors import ConfigurationError, SchedulerError, StoreUnavailable

DISTRIBUTION = "agent-scheduler"
DELIMITER = "--"
EPILOGUE = """Exit codes: 0 done, 1 refused by the server, 2 wrong usage,
            3 server unreachable, 4 not found.
Every command has examples, such as: scheduler add --help"""

Command = Callable[..., Any]

COMMANDS: tuple[tuple[str, Command, str], ...] = (
    ("serve", local.serve, "scheduler serve"),
    (
        "add",
        schedules.add,
        """scheduler add ping --every 15m --http https://example.org/ping
scheduler add digest --cron "0 9 * * mon-fri" --timezone Europe/London \\
  --http https://example.org/hook --header X-Team=growth
scheduler add report --at 2026-12-01T09:00:00 -- ./report.sh --year 2026""",
    ),
    ("list", schedules.list_, "scheduler list --state active --tag team=growth"),
    ("show", schedules.show, "scheduler show digest"),
    ("pause", schedules.pause, 'scheduler pause digest --note "the receiver is being moved"'),
    ("resume", schedules.resume, "scheduler resume digest --catch-up"),
    ("trigger", schedules.trigger, """scheduler trigger digest --input '{"topic": "news"}'"""),
    (
        "backfill",
        backfill.backfill,
        """scheduler backfill digest --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z --dry-run
scheduler backfill digest --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z --overlap-policy allow_all""",
    ),
    ("delete", schedules.delete, "scheduler delete digest"),
    ("upcoming", schedules.upcoming, "scheduler upcoming digest -n 10"),
    ("explain", explain.explain, "scheduler explain digest --at 2026-12-01T09:00:00"),
    ("runs", runs.runs, "scheduler runs --schedule digest --state failed\nscheduler runs --watch -v"),
    ("events", events.events, "scheduler events --kind run.finished --json"),
    ("workers", workers.workers, "scheduler workers --json"),
    ("stats", stats.stats, "scheduler stats"),
    (
        "preview",
        preview.preview,
        """scheduler preview "0 9 * * mon-fri" --timezone Europe/London -n 5
scheduler preview --rrule "FREQ=MONTHLY;BYDAY=1MO" --dtstart 2026-01-05T09:00:00
scheduler preview -f schedules.yaml""",
    ),
    ("audit", audit.audit, "scheduler audit\nscheduler audit digest --from 2026-12-01T00:00:00Z --json"),
    (
        "changes",
        changes.changes,
        "scheduler changes digest\nscheduler changes --kind key --from 2026-12-01T00:00:00Z --json",
    ),
    (
        "simulate",
        simulate.simulate,
        """scheduler simulate --from 2026-12-01T00:00:00Z --to 2026-12-08T00:00:00Z --durations 30s --svg load.svg
scheduler simulate --from 2026-12-01T00:00:00Z --to 2026-12-02T00:00:00Z -f schedules.yaml \\
  --outage 2026-12-01T08:00:00Z/2026-12-01T10:00:00Z""",
    ),
    ("apply", apply.apply, "scheduler apply -f schedules.yaml --prune --dry-run"),
    ("export", export.export, "scheduler export --tag team=growth -o schedules.yaml"),
)
RUN_COMMANDS: tuple[tuple[str, Command, str], ...] = (
    ("show", runs.show_run, "scheduler run show 0192f0c1-5a2e-7c3b-9d4e-5f60718293a4"),
    ("cancel", runs.cancel, "scheduler run cancel 0192f0c1-5a2e-7c3b-9d4e-5f60718293a4"),
    ("retry", runs.retry, "scheduler run retry 0192f0c1-5a2e-7c3b-9d4e-5f60718293a4"),
)
IMPORT_COMMANDS: tuple[tuple[str, Command, str], ...] = (
    (
        "crontab",
        crontab.import_crontab,
        """scheduler import crontab /etc/crontab --system --dry-run
crontab -l | scheduler import crontab - --prefix web1- --timezone Europe/London""",
    ),
)
CALENDAR_COMMANDS: tuple[tuple[str, Command, str], ...] = (
    ("list", calendars.list_, "scheduler calendars list"),
    ("show", calendars.show, "scheduler calendars show uk"),
    ("put", calendars.put, "scheduler calendars put holidays.ics --id uk"),
    ("delete", calendars.delete, "scheduler calendars delete uk"),
)
SECRET_COMMANDS: tuple[tuple[str, Command, str], ...] = (
    ("put", secrets.put, "scheduler secrets put api-token < token.txt\nscheduler secrets put api-token token.txt"),
    ("list", secrets.list_, "scheduler secrets list"),
    ("delete", secrets.delete, "scheduler secrets delete api-token"),
    ("make-key", secrets.make_key, "scheduler secrets make-key --id 2026-12"),
    ("reencrypt", secrets.reencrypt, "scheduler secrets reencrypt"),
)
KEY_COMMANDS: tuple[tuple[str, Command, str], ...] = (
    (
        "create",
        keys.create,
        """scheduler keys create --namespace growth --scope read --scope trigger --name newsletter
scheduler keys create --all-namespaces --scope read --name prometheus --expires-in 365d""",
    ),
    ("list", keys.list_, "scheduler keys list --namespace growth"),
    ("revoke", keys.revoke, "scheduler keys revoke 4f9a1c2b3d4e"),
    ("rotate", keys.rotate, "scheduler keys rotate 4f9a1c2b3d4e --overlap 1d"),
)
NAMESPACE_COMMANDS: tuple[tuple[str, Command, str], ...] = (
    (
        "create",
        namespaces.create,
        "scheduler namespaces create growth --timezone Europe/London --limit schedules=1000",
    ),
    ("list", namespaces.list_, "scheduler namespaces list"),
    ("show", namespaces.show, "scheduler namespaces show growth"),
    ("set", namespaces.set_, "scheduler namespaces set growth --limit minimum_interval=1m --limit schedules=none"),
    ("delete", namespaces.delete, "scheduler namespaces delete growth"),
)
NOTIFICATION_COMMANDS: tuple[tuple[str, Command, str], ...] = (
    ("list", notifications.list_, "scheduler notifications list"),
    (
        "add",
        notifications.add,
        """scheduler notifications add oncall --event failure --event recovery --http https://example.org/alerts
scheduler notifications add growth --event auto_pause --tag team:growth --email ops@example.org""",
    ),
    ("test", notifications.send_test, "scheduler notifications test oncall"),
    ("runs", notifications.runs, "scheduler notifications runs oncall -n 20"),
    ("delete", notifications.delete, "scheduler notifications delete oncall"),
)
DB_COMMANDS: tuple[tuple[str, Command, str], ...] = (
    ("migrate", local.migrate, "scheduler db migrate"),
    ("check", local.check, "scheduler db check --json"),
)
GROUPS = (
    ("run", "One run.", RUN_COMMANDS),
    ("import", "Schedules from elsewhere.", IMPORT_COMMANDS),
    ("calendars", "Days such as holidays, kept once, which schedules exclude by name.", CALENDAR_COMMANDS),
    ("secrets", "Values that targets refer to by name; kept encrypted, never shown.", SECRET_COMMANDS),
    ("keys", "Who may come in, to which namespace, to do what, and until when.", KEY_COMMANDS),
    ("notifications", "Who is told what, and how.", NOTIFICATION_COMMANDS),
    ("namespaces", "The tenants of a server.", NAMESPACE_COMMANDS),
    ("db", "The database itself.", DB_COMMANDS),
)


def build_app() -> App:
    """Make the tree of commands."""
    app = App(
        name="scheduler",
        help="Schedules, their runs, and the server that sees to them.",
        help_format="plaintext",
        help_epilogue=EPILOGUE,
        version=_version,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    _register(app, COMMANDS)
    for name, help_, commands in GROUPS:
        group = App(name=name, help=help_, help_epilogue="", sort_key=len(COMMANDS))
        _register(group, commands)
        app.command(group)
    return app


def _register(app: App, commands: Sequence[tuple[str, Command, str]]) -> None:
    for place, (name, command, examples) in enumerate(commands):
        lines = "\n".join(f"  {line}" for line in examples.splitlines())
        app.command(command, name=name, help_epilogue=f"Examples:\n{lines}", sort_key=place)


def _version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "not installed: it runs from its source"


def run(argv: Sequence[str]) -> int:
    """Run one command line; answers its exit code. Nothing is raised but a server's own SystemExit."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run(build_app(), argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _run(app: App, argv: Sequence[str]) -> int:
    try:
        return app(arranged(app, argv), exit_on_error=False, print_error=False) or DONE
    except CycloptsError as error:
        print_error(worded(error))
        return USAGE
    except Failure as failure:
        if isinstance(failure, Refused) and "--json" in argv:
            print_json(failure.problem)
        print_error(str(failure))
        return failure.exit_code
    except ConfigurationError as error:
        print_error(str(error))
        return USAGE
    except StoreUnavailable as error:
        print_error(f"{error}\nit is the one that SCHEDULER_DATABASE_URL names; start it, or name another")
        return UNREACHABLE
    except SchedulerError as error:
        print_error(str(error))
        return REFUSED


def arranged(app: App, argv: Sequence[str]) -> list[str]:
    """Let options stand before the command too, and let `add` see the -- that sets a command off."""
    cut = argv.index(DELIMITER) if DELIMITER in argv else len(argv)
    options, rest = list(argv[:cut]), list(argv[cut:])
    leading = _leading(options)
    chain, _, remaining = app.parse_commands(options[leading:])
    # Only the first -- is the delimiter; the second reaches the command as it stands.
    doubled = [DELIMITER, *rest] if rest and chain == ("add",) else rest
    return [*chain, *options[:leading], *remaining, *doubled] if chain else [*options, *rest]


def _leading(options: Sequence[str]) -> int:
    """Count the words of the connection's options that stand before the command."""
    count = 0
    while count < len(options):
        if options[count] in {"--url", "--api-key", "--namespace"}:
            count += 2
        elif options[count] == "--json" or options[count].startswith(("--url=", "--api-key=", "--namespace=")):
            count += 1
        else:
            break
    return min(count, len(options))
