"""What an SMSC has said of the parts of one message, and what that makes of the message."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from dialerd.drivers.smpp.pdu import Pdu, read_id
from dialerd.drivers.smpp.statuses import OK, outcome_of
from dialerd.drivers.smpp.submissions import Submission, reference_of
from dialerd.model.message import Message
from dialerd.model.outcome import InDoubt, Partly, Refusal, Sent, Unreachable, weightiest

__all__ = ["Answer", "Attempt", "Awaited", "read_answer"]


class Awaited(NamedTuple):
    """No answer in time: a doubt, until `late` has one after all, or None when the session has ended before."""

    reason: str
    late: "asyncio.Future[Pdu | None]"


#: Of one part: the SMSC's name for it, None if it gave none; or why it was not taken; or it is still waited for.
Answer = str | Refusal | Awaited | None


def read_answer(pdu: Pdu) -> str | Refusal | None:
    """Return what the answer to a submit_sm says."""
    return read_id(pdu.body) if pdu.status == OK else outcome_of(pdu.status)


class Attempt:
    """One attempt at a message: `accepted` are the parts that the SMSC has, those of earlier attempts too."""

    def __init__(self, message: Message, todo: Sequence[Submission]) -> None:
        self.message = message
        self.accepted = dict(message.accepted)
        self._parts = {submission.part for submission in todo} | self.accepted.keys()
        self._refusals: dict[int, Refusal] = {}
        self._awaited: dict[int, asyncio.Future[Pdu | None]] = {}

    def take(self, part: int, answer: Answer) -> None:
        """Take the answer to a part."""
        if isinstance(answer, Awaited):
            self._awaited[part] = answer.late
            self._refusals[part] = InDoubt(answer.reason)
        elif answer is None or isinstance(answer, str):
            self.accepted[part] = answer
        else:
            self._refusals[part] = answer

    @property
    def is_refused(self) -> bool:
        """Tell whether a part was not taken."""
        return bool(self._refusals)

    @property
    def is_awaited(self) -> bool:
        """Tell whether answers may still come."""
        return bool(self._awaited)

    @property
    def outcome(self) -> Sent | Partly | Refusal:
        """What it comes to."""
        refusals = list(self._refusals.values())
        if not refusals and self._parts - self.accepted.keys():
            refusals = [Unreachable("not sent: the answer to the part before was waited for")]
        if not refusals:
            ids = tuple(self.accepted[part] for part in sorted(self.accepted))
            return Sent(ids[0], ids)
        rest = weightiest(refusals)
        return Partly(dict(self.accepted), reference_of(self.message), rest) if self.accepted else rest

    async def answered_late(self) -> bool:
        """Take what is still waited for; False: some of it will not come any more."""
        for part, late in self._awaited.items():
            pdu = await late
            if pdu is None:
                return False
            del self._refusals[part]
            self.take(part, read_answer(pdu))
        return True
