"""Use cases on the hosts that the http targets of a namespace may call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from backend.errors import FieldError, FieldProblem, Forbidden, Refused
from backend.events import EgressChanged
from backend.model.egress import MOST_HOSTS, network_of, read_egress
from backend.service.schedules import Surroundings
from backend.service.validation import parse
from backend.service.views import View
from backend.store.port import NamespaceStore
from backend.targets.http_guard import forbidden_kind


class EgressBody(BaseModel):
    """Which hosts may be called."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allowed_hosts: tuple[str, ...] | None = Field(
        max_length=MOST_HOSTS,
        description="Names, `*.example.org` for all names below one, addresses, and networks such as `10.1.0.0/16`; "
        "null: every public host.",
    )


class EgressView(View):
    """Which hosts the http targets of the namespace may call."""

    allowed_hosts: list[str] | None = Field(description="null: every public host.")


@dataclass(frozen=True, slots=True)
class Allowances:
    """The allow-list of one namespace, changed in somebody's name. `everywhere`: an admin of all namespaces."""

    store: NamespaceStore
    by: str
    around: Surroundings
    everywhere: bool

    async def get(self) -> EgressView:
        """Show the list."""
        return EgressView(allowed_hosts=await self.store.egress().hosts())

    async def put(self, document: object) -> EgressView:
        """Replace the list; it holds for every request from now on."""
        hosts = parse(EgressBody, document).allowed_hosts
        for place, host in enumerate(hosts or ()):
            _check(host, f"allowed_hosts[{place}]")
        # Within the transaction: what somebody closes meanwhile is not opened again.
        await self.store.egress().put(hosts, lambda opened: self._check_private(hosts or (), opened))
        self.around.events.emit(EgressChanged(self.store.namespace, None if hosts is None else len(hosts), self.by))
        return await self.get()

    def _check_private(self, hosts: Sequence[str], opened: Sequence[str]) -> None:
        """Raise Forbidden for a network that only an admin of all namespaces may open, and that is not open."""
        if self.everywhere:
            return
        for host in hosts:
            network = network_of(host)
            # Both ends public does not make all between them so: a network of one's own has no use but this.
            if network is not None and host not in opened and (network.num_addresses > 1 or forbidden_kind(network[0])):
                raise Forbidden(f"{host} may be allowed only by a key without a namespace; ask who runs this server")


def _check(host: str, field: str) -> None:
    try:
        read_egress([host])
    except FieldError as error:
        raise Refused([FieldProblem(field, error.rule, error.fix)]) from None
