"""What comes back of mails: bounces, and recipients who want no more of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dialerd import log
from dialerd.mail.bounces import read_bounce
from dialerd.mail.unsubscribe import read_token
from dialerd.model.bounce import Bounce, BounceKind
from dialerd.model.campaign import Campaign, EmailPart, OptOut
from dialerd.model.errors import Unavailable
from dialerd.model.message import Channel
from dialerd.settings import Settings
from dialerd.store import Connection, Store
from dialerd.store.blacklist import Entry, add, blocked
from dialerd.store.bounces import Recorded, is_waiting, record

__all__ = ["Returned", "bounced", "unsubscribe"]

logger = log.get(__name__)

#: Of a campaign whose file has gone.
ANY = EmailPart(sender="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a mail to a return path was: `bounce` is None for no bounce of ours.

    `known` tells whether its message is in sms_repo, `blacklisted` whether its address was blacklisted because of it.
    """

    bounce: Bounce | None = None
    known: bool = False
    blacklisted: bool = False


async def bounced(
    store: Store, settings: Settings, content: bytes, *, recipient: str | None = None, now: datetime
) -> Returned:
    """Take a mail that came to a return path; what it says of one of our messages stands in the database on return.

    `recipient` is the address it came to, where the mail server tells. Raises Unavailable where the message is still
    being sent: the mail is to be brought again.
    """
    bounce = read_bounce(content, recipient)
    if bounce is None:
        return Returned()
    recorded, blacklisted = await store.transact(_record, bounce, settings.campaigns, now=now)
    if recorded is None and await store.read(is_waiting, bounce.message_id):
        raise Unavailable(f"message {bounce.message_id} is not recorded as sent yet")
    logger.info("mail_bounced", message_id=bounce.message_id, kind=bounce.kind, status=bounce.status)
    return Returned(bounce=bounce, known=recorded is not None, blacklisted=blacklisted)


async def unsubscribe(store: Store, settings: Settings, token: str, *, now: datetime) -> Entry:
    """Put the address that a link's token stands for on the blacklist, and return the entry; again it changes nothing.

    It is for a POST only (RFC 8058, section 3.2): programs that look at mails follow every link.

    Raises Refused where the token is none of ours.
    """
    campaign, address = read_token(token, settings.campaigns)
    assert campaign.email is not None
    scope = campaign.name if campaign.email.unsubscribe_from is OptOut.CAMPAIGN else None
    entry = Entry(channel=Channel.EMAIL, value=address, campaign=scope, reason="unsubscribed")
    await store.transact(add, [entry], now=now)
    logger.info("recipient_unsubscribed", campaign=campaign.name)
    return entry


def _record(
    connection: Connection, bounce: Bounce, campaigns: Mapping[str, Campaign], *, now: datetime
) -> tuple[Recorded | None, bool]:
    recorded = record(connection, bounce, now=now)
    if recorded is None or bounce.kind is not BounceKind.HARD:
        return recorded, False
    campaign = campaigns.get(recorded.campaign)
    email = (campaign.email if campaign is not None else None) or ANY
    key = (Channel.EMAIL, recorded.address, "")
    if recorded.hard < email.bounces_to_blacklist or blocked(connection, [key], now=now):
        return recorded, False
    reason = f"{recorded.hard} mails bounced: {bounce.status or bounce.text}"
    add(connection, [Entry(channel=Channel.EMAIL, value=recorded.address, reason=reason)], now=now)
    return recorded, True
