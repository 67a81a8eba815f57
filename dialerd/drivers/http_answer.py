"""What a gateway's answer comes to. No network: an answer in, an outcome out.

First the provider's own rules are asked, whatever the status:

    success, when it looks into the body (`body`, `json`) and holds    Sent
    throttled                                                          Throttled
    unavailable                                                        Unreachable
    permanent                                                          Failed
    success, by the status alone                                       Sent

What none of them knows is judged by its status (RFC 9110, section 15; RFC 6585):

    2xx, no `success` given                       Sent
    2xx that is empty, not whole, or not the JSON, which `success` looks into    InDoubt: nobody can tell
    2xx, other                                    Deferred: it says something else than success
    302, 303                                      InDoubt: so answers a page that has done what was asked, too
    3xx, other                                    Deferred: nothing was done there; the error says where it points
    401, 407                                      Unreachable: we were not let in, and neither would the next one be
    429, 503                                      Throttled: it took nothing
    502, 504, 520, 524                            InDoubt: a proxy's; the gateway behind it may have the message
    other 4xx and 5xx                             Deferred

Where `each` names an array with an entry for each part, all are judged so, each by the values in its entry: what
takes some parts and not others is Partly, under a reference that nobody knows.

Where `idempotency_key` is set a doubt can be resent. `Retry-After` (seconds or a date, RFC 9110, section 10.2.3) is
passed on. Of what was answered only Failed and Deferred tell something, one line, without credentials, number and
text: their errors end in sms_repo. The others end in logs, and tell the status and which rule held.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from dialerd.drivers.http_credentials import without_private
from dialerd.drivers.http_request import Request
from dialerd.model.lookup import at, text_of
from dialerd.model.outcome import (
    Deferred,
    Failed,
    InDoubt,
    Outcome,
    Partly,
    Refusal,
    Sent,
    Throttled,
    Unreachable,
    weightiest,
)
from dialerd.settings import Answer, HttpProvider

__all__ = ["Judge", "Reply", "decoded"]

LONGEST_TOLD = 200
LONGEST_ID = 100
#: A regular expression looks at no more of an answer.
LONGEST_SEARCHED = 16_384

PROXY = frozenset({502, 504, 520, 524})
PERHAPS_DONE = frozenset({302, 303})
NOT_LET_IN = frozenset({401, 407})
TOO_FAST = frozenset({429, 503})

UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
TAG = re.compile(r"<[^<>]{0,500}>")


@dataclass(slots=True)  # as Message
class Reply:
    """What was answered; `headers` finds names in lower case. Not `is_whole`: it was longer than we read."""

    status: int
    headers: Mapping[str, str]
    text: str
    is_whole: bool = True


def decoded(content: bytes, charset: str | None) -> str:
    """Return an answer as text: as its byte order mark or it says, or else UTF-8, or else Windows-1252; never an error.

    The mark itself is no part of the text, also where the charset is named: it would hide JSON, or a `^OK`.
    """
    charset = "utf-8" if content.startswith(BOM_UTF8) else charset
    for name, errors in ((charset, "strict"), ("utf-8", "strict"), ("cp1252", "replace")):
        try:
            if name:
                return content.decode(name, errors).removeprefix("\ufeff")
        except (LookupError, ValueError):  # no such charset, one that is none for text, or not what it says
            continue
    raise AssertionError("the last charset takes everything")


class Judge:
    """Judges the answers of one provider."""

    def __init__(self, provider: HttpProvider) -> None:
        self._any_2xx = provider.success is None
        self._success = _rule(provider.success)
        self._throttled = _rule(provider.throttled)
        self._unavailable = _rule(provider.unavailable)
        self._permanent = _rule(provider.permanent)
        self._success_reads_json = _reads(provider.success, "json")
        self._success_reads = self._success_reads_json or _reads(provider.success, "body")
        self._each = provider.each
        self._id = provider.id
        self._id_pattern = re.compile(provider.id.body) if provider.id is not None and provider.id.body else None
        self._resend_is_safe = provider.idempotency_key is not None

    def doubt(self, error: str) -> InDoubt:
        """Return the doubt of a request that has no answer."""
        return InDoubt(error, resend_is_safe=self._resend_is_safe)

    def outcome(self, reply: Reply, request: Request, now: datetime) -> Outcome:
        """Return what the answer to a request comes to; `now` is for a Retry-After that is a date."""
        answer = _Read(reply)
        entries = answer.entries(self._each) if self._each is not None else []
        if not entries:
            return self._judged(answer, request, now)
        outcomes = [self._judged(entry, request, now) for entry in entries]
        if len(outcomes) == 1:
            return outcomes[0]
        ids = tuple(outcome.provider_id if isinstance(outcome, Sent) else None for outcome in outcomes)
        refusals = [outcome for outcome in outcomes if not isinstance(outcome, Sent)]
        if not refusals:
            return Sent(ids[0], ids)
        accepted = {n: ids[n - 1] for n, outcome in enumerate(outcomes, 1) if isinstance(outcome, Sent)}
        rest = weightiest(refusals)
        # The gateway has made the parts, and tells nobody their reference.
        return Partly(accepted, None, rest) if accepted else rest

    def _judged(self, answer: "_Read", request: Request, now: datetime) -> Sent | Refusal:
        reply = answer.reply
        wish_s = _retry_after_s(reply.headers, now)
        succeeded = self._success(answer) is not None
        if succeeded and self._success_reads:
            return Sent(self._provider_id(answer, request))
        if (found := self._throttled(answer)) is not None:
            return Throttled(_status(reply) + found, wish_s)
        if (found := self._unavailable(answer)) is not None:
            return Unreachable(_status(reply) + found)
        if self._permanent(answer) is not None:
            return Failed(_told(reply, request))
        if succeeded or (self._any_2xx and 200 <= reply.status <= 299):
            return Sent(self._provider_id(answer, request))
        return self._by_status(answer, request, wish_s)

    def _by_status(self, answer: "_Read", request: Request, wish_s: float | None) -> Refusal:
        reply = answer.reply
        match reply.status:
            case status if 200 <= status <= 299:
                if self._success_reads and not reply.is_whole:
                    return self.doubt(f"{_status(reply)}: an answer too large to read")
                if self._success_reads and not reply.text.strip():
                    return self.doubt(f"{_status(reply)}: an answer that says nothing")
                if self._success_reads_json and answer.json is None:
                    return self.doubt(f"{_status(reply)}: an answer that is no JSON")
                return Deferred(_told(reply, request), wish_s)
            case status if status in PERHAPS_DONE:
                return self.doubt(f"{_status(reply)}: redirected to {_target(reply)}, which is not followed")
            case status if 300 <= status <= 399:
                return Deferred(f"{_status(reply)}: redirected to {_target(reply)}, which is not followed", wish_s)
            case status if status in NOT_LET_IN:
                return Unreachable(_status(reply))
            case status if status in TOO_FAST:
                return Throttled(_status(reply), wish_s)
            case status if status in PROXY:
                return self.doubt(f"{_status(reply)}: a proxy without an answer from the gateway")
            case status if status < 200:
                return self.doubt(_status(reply))
        return Deferred(_told(reply, request), wish_s)

    def _provider_id(self, answer: "_Read", request: Request) -> str | None:
        if self._id is None:
            return None
        found: object = request.named
        if self._id.json is not None:
            found = answer.at(self._id.json)
        elif self._id.header is not None:
            found = answer.reply.headers.get(self._id.header.lower())
        elif self._id_pattern is not None and (match := self._id_pattern.search(answer.searched)):
            found = match[1]
        if not isinstance(found, str | int | float) or isinstance(found, bool):
            return None
        return UNPRINTABLE.sub(" ", text_of(found)).strip()[:LONGEST_ID] or None


class _Read:
    """An answer, its JSON read when it is first asked for."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.searched = reply.text[:LONGEST_SEARCHED]
        self._json: Any = ...

    def entries(self, path: str) -> "list[_Read]":
        """Return the entries of the array at a path, each as the answer that it is for one part; none if it is none."""
        found = self.at(path)
        return [self._narrowed(entry) for entry in found] if isinstance(found, list) else []

    def _narrowed(self, entry: object) -> "_Read":
        one = _Read(self.reply)
        one._json = entry
        return one

    @property
    def json(self) -> Any:
        """The JSON, None if it is none."""
        if self._json is ...:
            try:
                self._json = json.loads(self.reply.text)
            except (ValueError, RecursionError):
                self._json = None
        return self._json

    def at(self, path: str) -> object:
        """Return what stands at a path such as messages.0.id; None if nothing does."""
        return at(self.json, path)


#: Returns what of the answer made it hold, for the error; None if it does not hold.
Rule = Callable[[_Read], str | None]


def _rule(answer: Answer | None) -> Rule:
    if answer is None:
        return lambda _read: None
    pattern = re.compile(answer.body) if answer.body is not None else None
    wanted = answer.json
    texts: frozenset[str] = frozenset()
    if wanted is not None:
        texts = frozenset(map(text_of, wanted.equals if isinstance(wanted.equals, tuple) else [wanted.equals]))
    other = _rule(answer.other)

    def holds(read: _Read) -> str | None:
        found = ""
        if answer.status is not None and read.reply.status not in answer.status:
            return other(read)
        if wanted is not None:
            value = read.at(wanted.path)
            if value is None or isinstance(value, dict | list) or text_of(value) not in texts:
                return other(read)
            # One of our own words: nothing else of the answer is repeated.
            found += f", {wanted.path} is {text_of(value)}"
        if pattern is not None:
            if not pattern.search(read.searched):
                return other(read)
            found += f", its body matches {answer.body!r}"
        return found

    return holds


def _reads(answer: Answer | None, part: str) -> bool:
    """Tell whether a rule looks into the body, in one of its alternatives."""
    return answer is not None and (getattr(answer, part) is not None or _reads(answer.other, part))


def _status(reply: Reply) -> str:
    # The server's own phrase may say anything.
    try:
        return f"HTTP {reply.status} {HTTPStatus(reply.status).phrase}"
    except ValueError:
        return f"HTTP {reply.status}"


def _told(reply: Reply, request: Request) -> str:
    """Return the status and what the gateway says, on one line, without what is nobody's business."""
    text = without_private(reply.text[:LONGEST_SEARCHED], request.private)
    text = UNPRINTABLE.sub(" ", TAG.sub(" ", text)).strip()
    if len(text) > LONGEST_TOLD:
        text = text[:LONGEST_TOLD] + "…"
    return f"{_status(reply)}: {text}" if text else _status(reply)


def _target(reply: Reply) -> str:
    """Return which host a redirect points to; its path and query may repeat what was asked."""
    try:
        parts = urlsplit(reply.headers.get("location", ""))
    except ValueError:
        return "nowhere"
    host = parts.netloc.rpartition("@")[2]
    return UNPRINTABLE.sub(" ", f"{parts.scheme}://{host}")[:LONGEST_TOLD] if host else "another path"


def _retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text, re.ASCII):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
        # By the server's own clock, where it tells it.
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else now
    except (ValueError, TypeError, IndexError):
        return None
    at, now = (moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (at, now))
    return max((at - now).total_seconds(), 0.0)
