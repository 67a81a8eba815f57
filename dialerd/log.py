"""The log: structlog, configured once, on stderr; and the list of event names."""

import json as jsonlib
import logging
import os
import sys

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

__all__ = ["EVENTS", "configure", "get"]

#: Every event that dialerd logs: what happened, in the past tense, and what an operator reads out of it.
EVENTS: dict[str, str] = {
    "api_failed": "a bug: a call of the API raised; the caller was given the number that stands here",
    "api_listening": "the API takes calls",
    "api_untidied": "what has run out of tokens and keys could not be deleted now; it does no harm",
    "blacklisted": "a user of the API has blocked an address",
    "base_loaded": "an uploaded base stands in the spool, all of its accepted lines at once",
    "campaign_paused": "a user of the API has paused a campaign",
    "campaign_resumed": "a user of the API has let a campaign go on",
    "claims_returned": "what was claimed and not started at a stop is queued again, as if it had not been claimed",
    "clock_jumped": "the machine's clock was set, or it slept; what depends on the time is asked anew",
    "daemon_draining": "no claims any more; attempts under way may end until drain_s is over",
    "daemon_started": "the daemon sends; it rescued so many messages of its own last life",
    "daemon_stopped": "the daemon has ended in order",
    "database_back": "the database answers again, and sending goes on",
    "database_gone": "the database does not answer; nothing is claimed, and outcomes wait in memory",
    "drain_incomplete": "at the stop some outcomes could not be written; the next start calls them in doubt",
    "driver_failed": "a bug: a driver raised instead of giving an outcome; an attempt that it was is in doubt",
    "incoming_count_differs": "an upload has not as many lines as its caller declared; it is loaded all the same",
    "incoming_refused": "a file that came in by the API cannot be loaded: the reason says why",
    "incoming_waits": "files that came in by the API wait for the database",
    "logged_in": "a user of the API was given a token",
    "logged_out": "a user of the API ended a token",
    "login_refused": "somebody gave a wrong user or password, or too many of them",
    "lease_lost": "this node was taken for dead, and what it had claimed was rescued; it begins a new life",
    "message_attempted": "one attempt, with its outcome",
    "messages_ended": "so many messages ended at the claim, without an attempt (expired, blocked, failed)",
    "messages_expired": "so many messages had waited longer than their campaign's expires_s",
    "messages_promoted": "so many scheduled messages went to the spool",
    "node_rescued": "another node, or an earlier life of this one, died; what it had claimed is in doubt",
    "outbox_line_ended": "the file driver found an unfinished last line and ended it: the next one stands alone",
    "outbox_reopened": "the file driver's file was moved or deleted (log rotation), and it goes on in a new one",
    "part_failed": "a bug: a part of the daemon raised; it is begun anew, and the other parts go on",
    "provider_back": "a provider can be reached again, and its messages go on",
    "provider_shut": "a provider cannot be reached: its messages wait, at no cost, while it is probed",
    "reload_needs_restart": "a reload changed what is only read at the start",
    "reload_refused": "the new configuration is wrong; the daemon goes on with the old one",
    "reloaded": "the new configuration holds",
    "settlements_late": "outcomes came for messages that this node no longer held; the rescuer's word stands",
    "unblacklisted": "a user of the API has taken an address off the blacklist",
}

#: Keys that speak of a person.
PRIVATE = ("address", "data", "destination", "subject", "text")

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
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Stderr,
    )
    _adopt_logging(shared, last)


def without_private(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Leave out what speaks of a person, except at debug: the id is enough to find the row."""
    if method != "debug":
        for key in PRIVATE:
            event.pop(key, None)
    return event


def _json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in ("at", "level", "event") if key in event}
    line = jsonlib.dumps({**first, **event}, default=str, ensure_ascii=sys.stderr.encoding.lower() != "utf-8")
    return f"<{PRIORITIES.get(first['level'], 6)}>{line}" if _is_journal() else line


def _is_journal() -> bool:
    """Tell whether stderr is the journal: the variable alone is also inherited by what runs on a desktop's terminal."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        there = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{there.st_dev}:{there.st_ino}"


class _Stderr:
    """Writes lines. One that cannot be written (disk full, nobody reads) is lost: sending goes on."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = msg


class _Adopted(logging.Handler):
    """Writes what libraries tell Python's logging."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as a line of ours."""
        try:
            _Stderr().msg(self.format(record))
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
