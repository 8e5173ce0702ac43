"""Use cases of those who were called: they tell that they are at work, and what became of the run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool

from backend.engine.callbacks import attempt_of
from backend.engine.outcomes import facts_of
from backend.engine.retry import settle
from backend.errors import RunIsOver, Unauthorized
from backend.model.attempt import AttemptResult
from backend.model.callback import hash_of_token, run_key_in
from backend.model.instants import rfc3339
from backend.model.run import AttemptState
from backend.service.schedules import Surroundings
from backend.service.validation import check_text, parse
from backend.service.views import RunView, View, run_view
from backend.store.callbacks import Awaited, Owner
from backend.store.port import AdminStore, NamespaceStore
from backend.targets.output import KEPT_BYTES


class CalleeVerdict(StrEnum):
    """What a callee may say of its run."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class CompleteBody(BaseModel):
    """What became of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: CalleeVerdict
    output: JsonValue = Field(default=None, description="A text, or JSON; of more than 64 KiB the beginning is kept.")
    error: Annotated[str, Field(max_length=2000)] | None = Field(default=None, description="Why it failed.")
    permanent: StrictBool = Field(default=False, description="Of a failure: another attempt would not help.")


class HeartbeatView(View):
    """What a callee hears in answer to its heartbeat."""

    cancelled: bool = Field(description="Stop: a later occurrence waits for the end of this run.")
    expires_at: str = Field(description="Without another heartbeat, the attempt has timed out then.")


async def owner_of(store: AdminStore, token: str, run_id: str) -> tuple[Owner, str]:
    """Find the run that a callback token is for, and the token's hash; Unauthorized if it is for none, or another.

    Whether it is that of the latest attempt is seen where it counts: in the transaction that uses it.
    """
    key = run_key_in(token)
    owner = None if key is None else await store.owner_of(key)
    if owner is None or owner.run_id != run_id:
        raise Unauthorized("the callback token is not that of the run's latest attempt")
    return owner, hash_of_token(token)


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The word of callees. `hash_` is that of the token that let the caller in; None: it was a key."""

    store: NamespaceStore
    around: Surroundings
    hash_: str | None

    async def heartbeat(self, id_: str) -> HeartbeatView:
        """Note that the callee is at work; RunIsOver when nobody waits for it any more."""
        beat = await self.store.heartbeat(id_, self.hash_)
        return HeartbeatView(cancelled=beat.cancelled, expires_at=rfc3339(beat.until))

    async def complete(self, id_: str, document: object) -> RunView:
        """Write down what became of the run; saying it twice is as good as once."""
        body = parse(CompleteBody, document)
        check_text(document, "body")

        def word(awaited: Awaited, _: int) -> AttemptResult:
            return _result(awaited, body)

        try:
            finish = await self.store.complete_run(id_, self.hash_, word, settle)
        except RunIsOver as over:
            if over.state != body.state:
                raise
        else:
            for fact in facts_of(finish):
                self.around.events.emit(fact)
            self.around.wake_workers()
            self.around.check_leases()
        return run_view(await self.store.run(id_))


def _result(awaited: Awaited, body: CompleteBody) -> AttemptResult:
    output, truncated = _text(body.output)
    failed = body.state is CalleeVerdict.FAILED
    return attempt_of(
        awaited,
        AttemptState.FAILED if failed else AttemptState.SUCCEEDED,
        error=(body.error or "the callee said that it failed") if failed else None,
        output=output,
        truncated=truncated,
        permanent=failed and body.permanent,
    )


def _text(output: JsonValue) -> tuple[str, bool]:
    if output is None:
        return "", False
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, separators=(",", ":"))
    encoded = text.replace("\0", "\ufffd").encode(errors="replace")
    return encoded[:KEPT_BYTES].decode(errors="ignore"), len(encoded) > KEPT_BYTES
