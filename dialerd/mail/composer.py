"""Composes mails: the same bytes at every attempt, whatever the text holds.

What all mails of a campaign have in common is put together once; a template is compiled once. So composing takes a
fraction of a millisecond, a tenth of what building an EmailMessage takes.
"""

import asyncio
import errno
import re
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.utils import parseaddr
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from dialerd import log
from dialerd.mail import unsubscribe
from dialerd.mail.attachments import FolderAway, read_files
from dialerd.mail.details import Details, read_details
from dialerd.mail.headers import clean, date, head, mailbox, own_field, wire_address, words
from dialerd.mail.invitation import KIND, calendar
from dialerd.mail.parts import File, Part, alternative, attached, inline, mixed, related, text_part
from dialerd.mail.wording import NoTemplate, Wording, word
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.errors import BadText, Refused
from dialerd.model.mail import Mail
from dialerd.model.message import Message
from dialerd.model.outcome import Deferred, Failed, Postponed

__all__ = ["Composer"]

logger = log.get(__name__)

#: How an attribute or a style names a file that stands in the same mail (RFC 2392).
CID = re.compile(r"(?<=[\"'=(])cid:([\w.+@%~-]{1,255})")

#: So many mails of a campaign have their files read at once, each for so long at most; those whose disk is away are
#: tried again after so long.
READERS = 4
READ_S = 20.0
AWAY_S = 60.0

#: A body of so many characters is worked on beside the loop: making text of its HTML takes 5 ms.
LARGE = 20_000


class Composer:
    """Composes the mails of some campaigns."""

    def __init__(self, campaigns: Mapping[str, Campaign]) -> None:
        self._campaigns = campaigns
        self._forms: dict[str, _Form] = {}

    async def compose(self, message: Message) -> Mail | Deferred | Postponed | Failed:
        """Return the mail of one message, or what to say of the attempt where there can be none (now).

        A disk that is away costs no attempt: the night in which it is away fails nothing.
        """
        campaign = self._campaigns.get(message.campaign)
        if campaign is None or campaign.email is None:
            return Deferred(f"the campaign {message.campaign!r} has no [email] table")
        try:
            form = self._forms.get(campaign.name) or self._forms.setdefault(
                campaign.name, _Form(campaign, campaign.email)
            )
            return await form.compose(message)
        except NoTemplate as gone:
            # It was there when the message came in: somebody may have renamed a file.
            return Deferred(str(gone))
        except Refused as refused:
            return Failed(str(refused))
        except FolderAway as away:
            return Postponed(f"the campaign's folder of attachments: {away.strerror}", AWAY_S)
        except OSError as trouble:
            return Deferred(f"cannot read an attachment: {trouble.strerror or type(trouble).__name__}")
        except Exception as error:  # a bug, met by an odd message: nothing of it has gone, so it is no doubt
            logger.exception("mail_not_composed", message_id=message.id)
            return Failed(f"cannot be composed: {type(error).__name__}")


class _Form:
    """What all mails of one campaign have in common."""

    def __init__(self, campaign: Campaign, email: EmailPart) -> None:
        self._campaign = campaign
        self._email = email
        self._sender = wire_address(parseaddr(email.sender)[1])
        self._domain = self._sender.rpartition("@")[2]
        self._return_path = wire_address(email.return_path) if email.return_path else None
        self._readers = ThreadPoolExecutor(READERS, "attachments")
        self._first = head({"From": mailbox("From", email.sender)})
        self._last = head(
            {
                "Reply-To": ",\r\n ".join(mailbox("Reply-To", written) for written in email.reply_to),
                "Auto-Submitted": "auto-generated",
                **{name: own_field(name, value) for name, value in email.headers.items()},
                "MIME-Version": "1.0",
            }
        )

    async def compose(self, message: Message) -> Mail:
        details = read_details(message.details, self._campaign.zone)
        wording = word(self._campaign, self._email, message.address, message.data, details)
        paths, shown = self._paths(wording, details)
        compose = partial(self._compose, message, details, wording, paths, shown)
        if paths:
            # A disk may take its time, or for ever: nobody else's threads wait for it.
            try:
                async with asyncio.timeout(READ_S):
                    return await asyncio.get_running_loop().run_in_executor(self._readers, compose)
            except TimeoutError:
                raise FolderAway(errno.ETIMEDOUT, f"no answer within {READ_S:g} s") from None
        # We may take our time, too, and others want the loop.
        return await asyncio.to_thread(compose) if len(message.data) > LARGE else compose()

    def _paths(self, wording: Wording, details: Details) -> tuple[Sequence[str], Set[str]]:
        """Return the paths of the files that go with a mail, and the names of those that its HTML shows by `cid:`.

        What is shown need not be asked for.
        """
        if self._email.attachments is None:
            if details.attachments:
                raise BadText("the campaign sends no attachments: its key email.attachments is not set", "bad text")
            return (), frozenset()
        html = wording.html if wording.html is not None and "cid:" in wording.html else ""
        shown = dict.fromkeys(name for name in map(unquote, CID.findall(html)) if "/" not in name)
        given = {Path(path).name for path in details.attachments}
        return [*details.attachments, *(name for name in shown if name not in given)], shown.keys()

    def _compose(
        self, message: Message, details: Details, wording: Wording, paths: Sequence[str], shown: Set[str]
    ) -> Mail:
        folder = self._email.attachments
        files = (
            read_files(folder, paths, most_mb=self._email.max_attachments_mb) if folder is not None and paths else []
        )
        recipient = wire_address(_as_written(message))
        common = {
            "To": recipient,
            "Subject": words("Subject", wording.subject),
            "Date": date(_dated(message)),
            "Message-ID": f"<{message.id}@{self._domain}>",
            **unsubscribe.fields(wording.unsubscribe),
        }
        body = self._body(
            message,
            recipient,
            wording,
            details,
            [file for file in files if file.name not in shown],
            [file for file in files if file.name in shown],
        )
        return Mail(
            mailbox=self._email.sender,
            sender=self._verp(message.id),
            recipient=recipient,
            subject=wording.subject,
            content=self._first + head(common) + self._last + bytes(body),
        )

    def _body(
        self,
        message: Message,
        recipient: str,
        wording: Wording,
        details: Details,
        files: Sequence[File],
        pictures: Sequence[File],
    ) -> Part:
        # Nobody can have written it into a body: the id is younger than the text.
        alternatives, whole, shown = (f"=_{kind}_{message.id}" for kind in "amr")
        text = clean(wording.text())
        says = [text_part(text, "text/plain")]
        if wording.html is not None:
            html = text_part(clean(wording.html), "text/html")
            says.append(related([html, *map(inline, pictures)], shown))
        follows = [attached(file) for file in files]
        if details.invitation is not None:
            told = calendar(
                details.invitation,
                uid=f"{message.id}@{self._domain}",
                sender=self._email.sender,
                recipient=recipient,
                text=text,
                zone=self._campaign.zone,
                stamp=_dated(message),
            )
            says.append(text_part(told, KIND))
            follows.append(attached(File(name="invite.ics", kind="application/ics", content=told.encode())))
        return mixed([alternative(says, alternatives), *follows], whole)

    def _verp(self, message_id: str) -> str:
        """Return the return path: with the message's id in it, so that a bounce says of what it is (VERP)."""
        if self._return_path is None:
            return self._sender
        local, _, domain = self._return_path.rpartition("@")
        return f"{local}+{message_id}@{domain}"


def _dated(message: Message) -> datetime:
    """Return when a mail says that it was made: at its first attempt (RFC 5322, section 3.6.1), not while it waited."""
    return message.first_claimed_at or message.queued_at


def _as_written(message: Message) -> str:
    """Return the destination with its own upper and lower case, where it is nothing more than the address."""
    destination = message.destination.strip()
    return destination if destination.lower() == message.address else message.address
