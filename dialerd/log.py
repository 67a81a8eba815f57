"""The log: structlog, configured once, on stderr; and the list of event names."""

import json as jsonlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from dialerd.stderr import Lines

__all__ = ["EVENTS", "LEVELS", "configure", "frequent", "get", "is_journal", "is_on", "set_level", "toggle_debug"]

#: Every event that dialerd logs: what happened, in the past tense, and what an operator reads out of it.
EVENTS: dict[str, str] = {
    "api_failed": "a bug: a call of the API raised; the caller was given the number that stands here",
    "api_listening": "the API takes calls",
    "api_stopped": "a process that serves the API alone has ended in order",
    "api_untidied": "what has run out of tokens and keys could not be deleted now; it does no harm",
    "base_changed": "a user of the API has brought, held, released or cancelled a base, or changed its priority",
    "base_loaded": "an uploaded base stands in the spool, all of its accepted lines at once",
    "blacklisted": "a user of the API has blocked an address",
    "callback_refused": "a provider's callback, or what looked like one, was not taken: the reason says why",
    "callback_unreadable": "of what a provider called back, so many said not what its table looks for",
    "callers_turned_away": "as many callers are connected as the process has files for; further ones get a 503",
    "campaign_paused": "a user of the API has paused a campaign",
    "campaign_resumed": "a user of the API has let a campaign go on",
    "claims_returned": "what was claimed and not started at a stop is queued again, as if it had not been claimed",
    "clock_jumped": "the machine's clock was set, or it slept; what depends on the time is asked anew",
    "confirmation_refused": "the confirmation of an opt-out is no message that its campaign could send",
    "connections_not_kept": "a gateway ends connections after its answers without a word: each message has its own now",
    "daemon_draining": "no claims any more; attempts under way may end until drain_s is over",
    "daemon_started": "the daemon sends; it rescued so many messages of its own last life",
    "daemon_stopped": "the daemon has ended in order",
    "database_back": "the database answers again, and sending goes on",
    "database_gone": "the database does not answer; nothing is claimed, and outcomes wait in memory",
    "drain_incomplete": "at the stop some outcomes could not be written; the next start calls them in doubt",
    "driver_failed": "a bug: a driver raised instead of giving an outcome; an attempt that it was is in doubt",
    "file_taken": "a user of the API has brought a base or a blacklist; it loads in the background",
    "inbound_stored": "SMS came in; so many of them asked to be left alone, or to be written to again",
    "inbox_failed": "a bug: what a provider told could not be recorded, and is lost",
    "incoming_count_differs": "an upload has not as many lines as its caller declared; it is loaded all the same",
    "incoming_refused": "a file that came in by the API cannot be loaded: the reason says why",
    "incoming_waits": "files that came in by the API wait for the database",
    "lease_lost": "this node was taken for dead, and what it had claimed was rescued; it begins a new life",
    "level_changed": "SIGUSR1 has changed from which level on things are logged",
    "lines_lost": "nobody took the log's lines for a while: so many are lost, and sending went on",
    "logged_in": "a user of the API was given a token",
    "logged_out": "a user of the API ended a token",
    "login_refused": "somebody gave a wrong user or password, or too many of them",
    "mail_bounced": "a mail server wrote back that it cannot, or not yet, deliver a mail of ours",
    "mail_not_composed": "a bug: a mail could not be put together; it has failed, and nothing of it was sent",
    "message_answered": "at debug only: what was said of an attempt that did not succeed",
    "message_attempted": "one attempt: its outcome, and what has become of the message",
    "message_cancelled": "a user of the API has cancelled a message that waited",
    "message_changed": "a user of the API has changed a message that waits for its time",
    "messages_claimed": "so many messages were claimed for one provider",
    "messages_ended": "so many messages ended at the claim, without an attempt (expired, blocked, failed)",
    "messages_expired": "so many messages had waited longer than their campaign's expires_s",
    "messages_promoted": "so many scheduled messages went to the spool",
    "node_rescued": "another node, or an earlier life of this one, died; what it had claimed is in doubt",
    "outbox_line_ended": "the file driver found an unfinished last line and ended it: the next one stands alone",
    "outbox_reopened": "the file driver's file was moved or deleted (log rotation), and it goes on in a new one",
    "part_failed": "a bug: a part of the daemon raised; it is begun anew, and the other parts go on",
    "progress_resumed": "the parts that stood still go on",
    "progress_stopped": "these parts stand still though the database answers; systemd's watchdog is not fed",
    "outcome_late": "an answer came after its message had been called a doubt, and ended that",
    "provider_back": "a provider can be reached again, and its messages go on",
    "provider_shut": "a provider is away, or wants us slower: its messages wait, at no cost; it is probed, or paced",
    "receipts_parked": "receipts fit no message yet, or several; they are looked at again",
    "receipts_unmatched": "receipts never found their message and are forgotten; is receipt_ids right?",
    "recipient_unsubscribed": "somebody wants no more mails of a campaign, or of all",
    "reload_needs_restart": "a reload changed what is only read at the start",
    "reload_refused": "the new configuration is wrong; the daemon goes on with the old one",
    "reloaded": "the new configuration holds",
    "sending_resumed": "a provider's messages go on, or nothing is due any more",
    "sending_stalled": "messages are due, their provider is up, and none has gone for stall_minutes",
    "settlements_late": "outcomes came for messages that this node no longer held; the rescuer's word stands",
    "smpp_bound": "an SMSC has taken a bind of ours",
    "smpp_delivery_unreadable": "an SMSC delivered what is no deliver_sm; it was told so, and nothing was stored",
    "smpp_unbound": "a bind to an SMSC could not be had, or ended; it is tried again",
    "unblacklisted": "a user of the API has taken an address off the blacklist",
}

#: Keys that speak of a person.
PRIVATE = ("address", "data", "destination", "subject", "text")
#: Keys with what a provider or the system said: it may quote whom we wrote to. An SMSC's code (0x00000058) is kept.
QUOTED = ("error", "reason")
PERSONAL = re.compile(r"(\b0x[0-9A-F]{8}\b)|[^\s<>@:,;\"'()]+@[^\s<>@:,;\"'()]+|\+?\d[\d \-]{5,}\d")

#: The levels by name, the lowest first.
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
#: syslog's priorities (RFC 5424, section 6.2.1), by which the journal sorts and colours: sd-daemon(3).
PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}


def get(name: str) -> FilteringBoundLogger:
    """Return the logger of one module; what it writes carries `module=name`."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


def configure(level: str, json: bool | None = None) -> None:
    """Log to stderr from `level` on: readable on a terminal; else, or if `json` says so, one JSON object a line.

    What libraries tell Python's own logging goes the same way, from `warning` on.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        without_private,
    ]
    readable = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        timestamp_key="at",
        sort_keys=False,
        # The default one shows local variables: texts and addresses among them.
        exception_formatter=structlog.dev.plain_traceback,
    )
    last: list[Processor] = [structlog.processors.format_exc_info, _json_line] if as_json else [readable]
    structlog.configure(processors=[*shared, *last], logger_factory=_Stderr)
    set_level(level)
    _form.prefix = ("<6>" if is_journal() else "") if as_json else None
    _form.encode = _utf8_json if _speaks_utf8() else jsonlib.JSONEncoder(default=str).encode
    _adopt_logging(shared, last)


def set_level(level: str) -> None:
    """Log from `level` (a key of LEVELS) on, whoever asked for a logger before."""
    _form.asked = level
    _log_from(level)


def toggle_debug() -> None:
    """Log at debug, or, if that was asked for before, at the level that was set last."""
    level = _form.asked if is_on("debug") else "debug"
    _log_from(level)
    get(__name__).warning("level_changed", to=level)


def _log_from(level: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    _form.level = LEVELS[level]


def is_on(level: str) -> bool:
    """Tell whether events of `level` are logged."""
    return _form.level <= LEVELS[level]


def frequent(event: str, *, module: str, **always: Any) -> Callable[..., None]:
    """Return a function that logs one event at info, `log(**fields)`, as a logger of `module` would, far cheaper.

    For what happens thousands of times a second: lines of one turn of the event loop are written at once. The fields
    must hold nothing private: they are not looked through.
    """
    plain = get(module)
    head = jsonlib.dumps({"level": "info", "event": event, "module": module, **always}, default=str)[1:-1]

    def write(**fields: Any) -> None:
        if _form.level > logging.INFO:
            return
        if _form.prefix is None:
            plain.info(event, **always, **fields)
        else:
            _lines.gather(f'{_form.prefix}{{"at": "{_now()}Z", {head}, {_form.encode(fields)[1:]}')

    return write


def _now() -> str:
    """Return what datetime.isoformat() would with microseconds, and in UTC; the second is spelled once."""
    second, rest = divmod(time.time_ns(), 1_000_000_000)
    if second != _form.second:
        _form.second, _form.spelled = second, datetime.fromtimestamp(second, UTC).isoformat()[:-6]
    return f"{_form.spelled}.{rest // 1000:06}"


def _utf8_json(fields: dict[str, Any]) -> str:
    return orjson.dumps(fields, default=str).decode()


def without_private(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Leave out what speaks of a person, except at debug: the id is enough to find the row."""
    if method != "debug":
        for key in PRIVATE:
            event.pop(key, None)
        for key in QUOTED:
            if isinstance(event.get(key), str):
                event[key] = PERSONAL.sub(lambda found: found[1] or "…", event[key])
    return event


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in ("at", "level", "event") if key in event}
    line = jsonlib.dumps({**first, **event}, default=str, ensure_ascii=not _speaks_utf8())
    return f"<{PRIORITIES.get(first['level'], 6)}>{line}" if is_journal() else line


def _speaks_utf8() -> bool:
    return sys.stderr.encoding.lower() == "utf-8"


def is_journal() -> bool:
    """Tell whether stderr is the journal: the variable alone is also inherited by what runs on a desktop's terminal."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        there = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{there.st_dev}:{there.st_ino}"


class _Form:
    """How lines are written now. `prefix` is what stands before a JSON line at info, None: they are no JSON."""

    def __init__(self) -> None:
        self.level = logging.DEBUG
        #: The level that was asked for, whatever is logged for the moment.
        self.asked = "debug"
        self.prefix: str | None = None
        self.encode: Callable[[dict[str, Any]], str] = _utf8_json
        #: The second in which a frequent line was last written, and how that is spelled.
        self.second, self.spelled = 0, ""


_form = _Form()
_lines = Lines(lost=lambda count: get(__name__).warning("lines_lost", count=count))


class _Stderr:
    """What structlog writes to."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        _lines.write(line)

    debug = info = warning = error = critical = msg


class _Adopted(logging.Handler):
    """Writes what libraries tell Python's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as a line of ours."""
        try:
            _lines.write(self.format(record))
        except Exception:  # noqa: BLE001  # a library's broken record must not stop who logged it
            self.handleError(record)


def _with_module(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["module"] = event["_record"].name
    return event


def _adopt_logging(shared: list[Processor], last: list[Processor]) -> None:
    handler = _Adopted()
    no_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[no_meta, *last], foreign_pre_chain=[_with_module, *shared])
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _Adopted)] + [handler]
    root.setLevel(logging.WARNING)


# Until configure() is called, too, nothing of the log goes to stdout, which is for data.
structlog.configure(logger_factory=_Stderr)
