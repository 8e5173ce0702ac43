"""What every command that asks a server takes, and the client that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from backend.cli.client import Client, split_url
from backend.cli.failures import WrongUsage

CONNECTION = Group("Connection", sort_key=100)
KEY_FILE = "admin.key"
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, never bound

AsJson = Annotated[
    bool, Parameter(name="--json", negative="", group=CONNECTION, help="Print JSON for scripts.", show_default=False)
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """The server, the key, the namespace, and whether a program reads the answer."""

    url: Annotated[
        str | None,
        Parameter(
            env_var="SCHEDULER_URL",
            group=CONNECTION,
            help="The server. Default: the port of this machine's settings, http://127.0.0.1:8003.",
        ),
    ] = None
    api_key: Annotated[
        str | None,
        Parameter(
            env_var="SCHEDULER_API_KEY",
            group=CONNECTION,
            help="The key. Default for a server on this machine: the admin.key in its data directory.",
        ),
    ] = None
    namespace: Annotated[str | None, Parameter(group=CONNECTION, help="The namespace; otherwise the key's own.")] = None
    json: AsJson = False


DEFAULTS = Common()


def connect(common: Common) -> Client:
    """Make the client. Settings are read only where the options leave something open."""
    url = common.url or default_url()
    return Client(url, api_key=common.api_key or local_key(url), namespace=common.namespace)


def default_url() -> str:
    """Name the server that this machine's settings describe."""
    from backend.settings import load_settings  # noqa: PLC0415 - pydantic is slow to import

    settings = load_settings()
    host = "127.0.0.1" if settings.bind_host in WILDCARDS else settings.bind_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port or 8003}"


def local_key(url: str) -> str | None:
    """Read the admin key, but only for a server on this machine: no other host may be sent it."""
    from backend.settings import load_settings  # noqa: PLC0415 - as above

    settings = load_settings()
    if split_url(url).hostname not in LOCAL_HOSTS | {settings.bind_host}:
        return None
    path = settings.data_dir / KEY_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{path} cannot be read ({type(error).__name__}); give the key by --api-key") from error
