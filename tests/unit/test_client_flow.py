"""What a client decides between two requests, without a network and without waiting."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from typing import Any

import pytest

from backend.client import (
    NEVER,
    Conflict,
    NoScheduler,
    NotFound,
    PreconditionFailed,
    RateLimited,
    Refused,
    Retry,
    ServerError,
    Unavailable,
    Unreachable,
    retry,
)
from backend.client.errors import ClientError, Problem
from backend.client.events import EventReader, FollowedEvents
from backend.client.flow import Call, Ended, Pages, Send, Wait, advance
from backend.client.readers import nothing, raw, reading
from backend.client.terms import Terms
from backend.client.wire import Address, Answer, Request, checked_key, document_of, split_url
from tests.unit.cli_server import problem

URL = "http://scheduler.test"
LOST = Unreachable(URL, "reset", maybe_done=True)
REFUSED = Unreachable(URL, "connection refused")
DONE = Answer(200, {}, b'{"id": "digest"}')


def said(status: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, named, json.dumps(problem(status, "No", "it says no")).encode())


class Still:
    """A clock that goes on only when somebody waits."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        return 0

    def monotonic(self) -> float:
        return self.seconds

    uptime = monotonic


class World:
    """Answers a flow from a list, and notes what was sent and how long was waited."""

    def __init__(self, *answers: Answer | Unreachable, retry: Retry | None = None, slow: float = 0.0) -> None:
        self.answers = list(answers)
        self.sent: list[Send] = []
        self.waited: list[float] = []
        self.clock = Still()
        self.slow = slow
        retry = retry or Retry(draw=lambda: 1.0)
        self.terms = Terms(Address(URL, "sched_a_b", None), self.clock, retry, 30.0)

    def do(self, method: str = "GET", read: Callable[[str, Answer], Any] | None = None, **named: Any) -> Any:
        flow = self.terms.flow(
            Call(Request(method=method, path=("schedules", "digest"), **named), read or reading(raw))
        )
        step = advance(flow, None)
        while not isinstance(step, Ended):
            step = advance(flow, self._tell(step))
        return step.result

    def _tell(self, step: Send | Wait) -> Answer | Unreachable | None:
        if isinstance(step, Wait):
            self.waited.append(step.seconds)
            self.clock.seconds += step.seconds
            return None
        self.sent.append(step)
        self.clock.seconds += self.slow
        return self.answers.pop(0)


@pytest.mark.parametrize("failure", [LOST, REFUSED, said(502), said(503), said(504), said(429, retry_after="0")])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "POST"])
def test_what_passes_is_asked_again(method: str, failure: Answer | Unreachable):
    world = World(failure, failure, DONE)
    assert world.do(method) == {"id": "digest"}
    assert len(world.sent) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 412, 413, 422, 429, 500])
def test_what_does_not_pass_is_told_at_once(status: int):
    world = World(said(status))
    with pytest.raises(Problem, match="it says no") as told:
        world.do("PUT")
    assert told.value.status == status
    assert not world.waited


def test_a_post_carries_one_name_however_often_it_is_sent_and_another_the_next_time():
    world = World(LOST, said(503), DONE, DONE)
    world.do("POST")
    world.do("POST")
    names = [send.wire.headers["Idempotency-Key"] for send in world.sent]
    assert names[0] == names[1] == names[2] != names[3]
    world = World(DONE)
    world.do("PUT")
    assert "Idempotency-Key" not in world.sent[0].wire.headers


def test_pauses_double_up_to_their_limit_and_end_at_the_deadline():
    world = World(*[REFUSED] * 40, retry=Retry(deadline=30, initial=1, maximum=8, draw=lambda: 1.0))
    with pytest.raises(Unreachable):
        world.do()
    assert world.waited == [1, 2, 4, 8, 8]
    assert world.clock.seconds <= 30


def test_a_late_try_has_no_longer_than_the_deadline_leaves():
    world = World(LOST, LOST, DONE, retry=Retry(deadline=60, initial=0.0, draw=lambda: 1.0), slow=29)
    world.do()
    assert [send.timeout for send in world.sent] == [30, 30, 2]


def test_pauses_are_drawn_between_nothing_and_the_limit():
    drawn = {round(Retry(initial=1).pause(3, None), 9) for _ in range(200)}
    assert len(drawn) > 150
    assert min(drawn) >= 0
    assert max(drawn) <= 4
    assert Retry().pause(5000, None) <= 10


def test_retry_after_is_waited_for_unless_it_is_beyond_the_deadline():
    world = World(said(429, retry_after="7"), DONE)
    world.do()
    assert world.waited == [pytest.approx(7.2)]
    with pytest.raises(RateLimited) as told:
        World(said(429, retry_after="600")).do()
    assert told.value.retry_after == 600


def test_the_example_of_the_documentation_holds():
    assert doctest.testmod(retry).failed == 0


def test_one_try_is_one_try():
    with pytest.raises(Unreachable):
        World(REFUSED, DONE, retry=NEVER).do()


def test_a_delete_whose_answer_was_lost_and_that_finds_nothing_is_done():
    assert World(LOST, said(404)).do("DELETE", nothing) is None
    with pytest.raises(NotFound):
        World(REFUSED, said(404)).do("DELETE", nothing)


def test_any_refusal_after_a_lost_answer_says_that_it_may_be_done():
    with pytest.raises(Conflict) as told:
        World(LOST, said(409)).do("POST")
    assert told.value.maybe_done


def test_a_conditional_write_says_when_the_other_revision_may_be_its_own():
    with pytest.raises(PreconditionFailed) as told:
        World(LOST, said(412)).do("PUT", headers={"If-Match": '"3"'})
    assert told.value.maybe_done
    with pytest.raises(PreconditionFailed) as told:
        World(REFUSED, said(412)).do("PUT", headers={"If-Match": '"3"'})
    assert not told.value.maybe_done


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (said(409), Conflict),
        (said(422), Refused),
        (said(500), ServerError),
        (Answer(503, {}, b'{"status": "starting"}'), Unavailable),
        (Answer(200, {}, b"<html>"), NoScheduler),
        (Answer(200, {}, b"[]"), NoScheduler),
        (Answer(302, {"location": "http://elsewhere.test"}, b""), NoScheduler),
        (Answer(404, {}, b"<html>"), NoScheduler),
        (Answer(500, {}, b"[" * 100_000), NoScheduler),
    ],
)
def test_each_answer_is_an_error_of_its_kind(answer: Answer, kind: type[ClientError]):
    with pytest.raises(kind) as told:
        document_of(URL, answer)
    assert type(told.value) is kind


def test_a_refusal_names_field_rule_and_fix():
    document = problem(422, "Refused", "no", ("triggers[0].expression", "minute 61 is outside 0–59", "use 0–59"))
    with pytest.raises(Refused) as told:
        document_of(URL, Answer(422, {}, json.dumps(document).encode()))
    [only] = told.value.problems
    assert (only.field, only.rule, only.fix) == ("triggers[0].expression", "minute 61 is outside 0–59", "use 0–59")


def test_a_list_is_read_to_its_end_or_to_the_limit():
    def read(limit: int | None) -> tuple[list[Any], list[Any]]:
        asked, got = [], []
        pages = Pages(Request(method="GET", path=("runs",), query={"state": "failed"}), limit)
        for call in pages:
            query: Any = call.request.query
            asked.append((query["limit"], query["cursor"], query["state"]))
            start = int(query["cursor"] or 0)
            size = min(query["limit"], 500)
            more = start + size < 1200
            items = list(range(start, min(start + size, 1200)))
            got += pages.took({"items": items, "next_cursor": str(start + size) if more else None})
        return asked, got

    asked, got = read(None)
    assert got == list(range(1200))
    assert asked == [(500, None, "failed"), (500, "500", "failed"), (500, "1000", "failed")]
    assert read(501)[1] == list(range(501))
    assert read(0) == ([], [])


def test_a_path_is_quoted_and_a_namespace_is_named_but_not_outside_the_prefix():
    address = Address("https://example.org/base/", None, "growth")
    wire = address.wire(Request(method="GET", path=("schedules", "a/b c"), query={"q": "ü", "x": None}), {})
    assert wire.target == "/base/api/v1/schedules/a%2Fb%20c?q=%C3%BC&namespace=growth"
    assert address.wire(Request(method="GET", path=("livez",), prefix=""), {}).target == "/base/livez"


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://a b", "http://u:p@x", "http://x/?a=1", "http://x:0"])
def test_a_url_that_is_none_is_refused(url: str):
    with pytest.raises(ValueError, match=r"is not an? |has more than"):
        split_url(url)


def test_a_key_that_cannot_travel_is_refused():
    with pytest.raises(ValueError, match="copy it again"):
        checked_key("sched_a_b\n")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_put_together_from_whatever_pieces(size: int):
    first = b': hello\r\n\r\nid: 7\nevent: run.finished\ndata: {"a":\ndata: 1}\n\n'
    text = first + b':\n\nid:8\ndata: {"b": 2}\n\nid: 9\ndata: {'
    reader = EventReader()
    got: list[Any] = []
    for start in range(0, len(text), size):
        got += reader.feed(text[start : start + size])
    assert got == [("7", "run.finished", {"a": 1}), ("8", "message", {"b": 2})]
    assert reader.last_id == "8"


def test_events_go_on_after_the_last_whole_one():
    world = World()
    following = FollowedEvents(Request(method="GET", path=("events",)), world.terms, "5")
    assert following.wire().headers["Last-Event-ID"] == "5"
    following.feed(b"id: 6\ndata: {}\n\ndata: {\n")
    assert following.wire().headers["Last-Event-ID"] == "6"
    assert following.pause(LOST) > 0
    with pytest.raises(Problem):
        following.pause(following.refused(said(403)))
