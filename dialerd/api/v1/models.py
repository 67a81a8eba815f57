"""The shapes of /v1. Instants are ISO 8601; those that come out are in UTC."""

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from dialerd.model.storable import is_storable

__all__ = [
    "Accepted",
    "BadLine",
    "BadLinePage",
    "Base",
    "BasePage",
    "BaseProgress",
    "Batch",
    "BatchResult",
    "CampaignState",
    "Edit",
    "Entry",
    "EntryPage",
    "InboundMessage",
    "InboundPage",
    "Message",
    "MessagePage",
    "NewMessage",
    "NewPriority",
    "Operated",
    "Pause",
    "Result",
    "StandingEntry",
]


class Given(BaseModel):
    """What a caller sends: an unknown member is an error, not a silent mistake."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def storable(cls, given: Any) -> Any:
        """Refuse what no database keeps."""
        if not is_storable(given):
            raise ValueError("a text holds a NUL character, or half a character, or there are too many levels")
        return given


class NewMessage(Given):
    """A message to be sent now, or at its time."""

    campaign: str = Field(examples=["Ventas->"], description="By its name.")
    destination: str = Field(examples=["098344484"], description="A number or an e-mail address.")
    text: str = Field(default="", examples=["Your appointment is at ten."], description="SMS text, or e-mail body.")
    at: str | None = Field(
        default=None,
        examples=["2026-12-01 09:30:00", "2026-12-01T12:30:00Z"],
        description="When: wall-clock time in the campaign's zone, or ISO 8601 with an offset. Absent: now.",
    )
    priority: int = Field(default=1, ge=1, le=9999, description="1 goes first, 9999 last; of what goes now.")
    agent: str | None = None
    source: str | None = Field(default=None, description="Sender; the campaign's if absent.")
    details: dict[str, Any] | None = Field(
        default=None,
        description="subject, template, variables, attachments, invitation.",
        examples=[{"variables": {"name": "Ana"}}],
    )


class Accepted(BaseModel):
    """The message stands in the database under this id."""

    id: str = Field(examples=["01935f1e-8c4b-7d0a-9e52-3f6a7b8c9d0e"])


class Batch(Given):
    """Up to 10,000 messages; each is taken or refused by itself."""

    messages: list[NewMessage] = Field(min_length=1, max_length=10_000)


class Result(BaseModel):
    """What became of one message of a batch: an id, or why it was refused."""

    id: str | None = None
    error: str | None = None


class BatchResult(BaseModel):
    """One result for each message, in their order."""

    accepted: int
    refused: int
    results: list[Result]


class Message(BaseModel):
    """A message, wherever it stands."""

    id: str
    place: Literal["sms_scheduler", "sms_spool", "sms_repo"]
    campaign: str
    destination: str
    text: str
    priority: int | None = None
    base: str | None = None
    at: datetime | None = None
    agent: str | None = None
    source: str | None = None
    details: Any = None
    state: str | None = Field(default=None, description="While it waits: queued, deferred, held, sending, in_doubt.")
    status: str | None = Field(default=None, description="At its end: sent, failed, expired, blocked, cancelled.")
    due_at: datetime | None = None
    dateprocessed: datetime | None = None
    attempts: int | None = None
    provider: str | None = None
    provider_id: str | None = None
    parts: int | None = None
    error: str | None = None
    delivery: str | None = None
    delivered_at: datetime | None = None
    queued_at: datetime | None = None


class MessagePage(BaseModel):
    """Some messages, and the cursor of the next page; null after the last."""

    messages: list[Message]
    next: str | None


class Edit(Given):
    """What can still be changed of a message that waits for its time."""

    destination: str | None = None
    text: str | None = None
    at: str | None = None


class CampaignState(BaseModel):
    """A campaign: may it send, and what waits."""

    name: str
    channel: str | None = None
    state: str
    opens_at: datetime | None
    counts: dict[str, int]


class Pause(Given):
    """Why."""

    reason: str | None = None


class Entry(Given):
    """An entry of the blacklist; no campaign means all."""

    value: str = Field(examples=["098344484"])
    channel: Literal["sms", "email"] | None = None
    campaign: str | None = None
    reason: str | None = None
    expires: AwareDatetime | None = None


class StandingEntry(BaseModel):
    """An entry as it stands on the blacklist: its value in canonical form."""

    value: str = Field(examples=["59898344484"])
    channel: str
    campaign: str | None
    reason: str | None
    expires: datetime | None
    created: datetime | None


class EntryPage(BaseModel):
    """Some entries, and the cursor of the next page; null after the last."""

    entries: list[StandingEntry]
    next: str | None


class Base(BaseModel):
    """A base: a file with many messages."""

    id: str = Field(examples=["01935f1e-8c4b-7d0a-9e52-3f6a7b8c9d0e"])
    name: str = Field(examples=["march.csv"])
    filename: str
    channel: str
    state: Literal["loading", "loaded", "failed"] = Field(
        description="`loading` until the whole file has been read; nothing of a `failed` one is ever sent."
    )
    accepted: int = Field(description="Good lines, while it is loading so far.")
    rejected: int = Field(description="Lines that cannot be sent; `/errors` tells why.")
    created: datetime
    finished: datetime | None
    error: str | None = Field(description="Why it failed.", examples=["march.csv is a gzip archive: unpack it first"])
    same_as: str | None = Field(description="The base that brought in the same file before.")


class BaseProgress(Base):
    """A base, and what became of its messages."""

    counts: dict[str, int] = Field(
        description="Messages by state and status; those that are 0 are left out.",
        examples=[{"queued": 8120, "sending": 50, "sent": 1830}],
    )


class BasePage(BaseModel):
    """Some bases, and the cursor of the next page; null after the last."""

    bases: list[Base]
    next: str | None


class BadLine(BaseModel):
    """A line that was rejected; `text` is its beginning where `whole` is false."""

    line: int = Field(examples=[17])
    reason: str = Field(examples=["bad number"])
    text: str
    whole: bool


class BadLinePage(BaseModel):
    """Some rejected lines, and the cursor of the next page; null after the last."""

    errors: list[BadLine]
    next: str | None


class NewPriority(Given):
    """1 goes first, 9999 last."""

    priority: int = Field(ge=1, le=9999, examples=[10])


class Operated(BaseModel):
    """How many messages were touched, and how many were left alone, by their state."""

    touched: int
    left_alone: dict[str, int] = Field(examples=[{"sending": 50}])
    base: Base


class InboundMessage(BaseModel):
    """An SMS that somebody sent to us; `campaign` is that of the last message to the phone."""

    id: str
    phone: str = Field(examples=["59898344484"])
    message: str
    received: datetime
    campaign: str | None
    provider: str | None = Field(description="Through whom it came.")
    recipient: str | None = Field(description="The number it was sent to, where the provider tells.")


class InboundPage(BaseModel):
    """Some inbound SMS, and the cursor of the next page; null after the last."""

    messages: list[InboundMessage]
    next: str | None
