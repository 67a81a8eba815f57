"""What providers tell by themselves, on its way into the database: receipts, and SMS that people send to us.

Both drivers with connections of their own (SMPP) and HTTP put it here, and may tell the provider that we have it once
a call returns. What comes at the same time is recorded together, as long as the commit before it takes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from dialerd import addresses, log
from dialerd.examine import examine
from dialerd.failpoint import hit
from dialerd.grouped import Grouped
from dialerd.model.campaign import Campaign, OnDoubt, RetryPolicy
from dialerd.model.errors import BadAddress, BadText, DatabaseGone
from dialerd.model.message import URGENT, Channel, Message, new_id
from dialerd.model.outcome import Outcome, Sent
from dialerd.model.receipt import Inbound, Receipt, ReceiptIds, address_of
from dialerd.model.retry import verdict
from dialerd.settings import Settings, SmppProvider
from dialerd.spool import Spool
from dialerd.store import Connection
from dialerd.store.inbound import Door, Stored, forget_inbound_parts, has_open, join_late
from dialerd.store.inbound import store as store_inbound
from dialerd.store.outcomes import settle
from dialerd.store.parts import forget_parts
from dialerd.store.receipts import KEPT, Received, Told, expire_parked, look_again, next_look, receive
from dialerd.store.settle import Settlement
from dialerd.store.spool import NewMessage

__all__ = ["Inbox"]

logger = log.get(__name__)

#: Most of one transaction: SQLite's other writers wait no longer than 50 ms.
MOST_RECEIPTS, MOST_INBOUND = 200, 50
#: Receipts that found no message are forgotten after so long: no provider sends them later.
PARKED_FOR = timedelta(days=3)
LOOK_S, TIDY_EVERY_S = 1.0, 60.0
MOST_TIDIED = 1000

T = TypeVar("T")


class Inbox:
    """Takes receipts and inbound SMS for all providers. `settings` may be replaced while it runs."""

    def __init__(self, spool: Spool, settings: Settings, *, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self._spool = spool
        self._clock = clock
        self._receipts: Grouped[Told, None] = Grouped(self._receive, most=MOST_RECEIPTS)
        self._inbound: Grouped[Inbound, None] = Grouped(self._store, most=MOST_INBOUND)

    async def receipt(self, receipt: Receipt) -> None:
        """Take a receipt; it stands in the database on return. Again and again the same one does no harm.

        Raises DatabaseGone when it does not: the provider must not be told that we have it.
        """
        provider = self.settings.providers.get(receipt.provider)
        reading = provider.receipt_ids if isinstance(provider, SmppProvider) else ReceiptIds.SAME
        await self._receipts(Told(receipt=receipt, reading=reading))

    async def inbound(self, inbound: Inbound) -> None:
        """Take an SMS that somebody sent to us, or a part of one; as `receipt` does."""
        await self._inbound(inbound)

    # -- recording -----------------------------------------------------------------------------------------------

    async def _receive(self, told: Sequence[Told]) -> list[None]:
        return await self._each(told, self._receive_some)

    async def _store(self, some: Sequence[Inbound]) -> list[None]:
        return await self._each(some, self._store_some)

    async def _each(self, some: Sequence[T], record: Callable[[Sequence[T]], Awaitable[None]]) -> list[None]:
        """Record a batch; if a bug refuses it, one by one, so that the bad one keeps no other from being recorded."""
        try:
            try:
                await record(some)
            except DatabaseGone:
                raise
            except Exception:
                logger.exception("inbox_failed", count=len(some))
                for one in some if len(some) > 1 else ():
                    await self._each([one], record)
        except DatabaseGone as error:
            self._spool.database_failed(error, "inbox")
            raise
        self._spool.database_answered("inbox")
        return [None] * len(some)

    async def _receive_some(self, told: Sequence[Told]) -> None:
        hit("receive.begin")
        received: Received = await self._spool.store.transact(receive, told, now=self._clock())
        hit("receive.committed")
        if received.parked:
            logger.debug("receipts_parked", count=received.parked)

    async def _store_some(self, some: Sequence[Inbound]) -> None:
        stored = await self._spool.store.transact(store_inbound, some, self._door(), now=self._clock())
        hit("inbound.committed")
        self._tell(stored)

    def _tell(self, stored: Stored) -> None:
        if stored.stored:
            logger.info("inbound_stored", count=stored.stored, opted_out=stored.opted_out, opted_in=stored.opted_in)
        if stored.replied:
            self._spool.wake()

    def _door(self) -> Door:
        settings = self.settings
        return Door(rules=settings.inbound, campaigns=settings.campaigns, canonical=canonical, reply=confirmation)

    async def late(self, provider: str, message: Message, outcome: Outcome) -> None:
        """Take the outcome of an attempt that has been called a doubt; if somebody has ended that, nothing changes.

        Raises DatabaseGone when it does not stand in the database: it stays a doubt.
        """
        campaign = self.settings.campaigns.get(message.campaign)
        decided = verdict(
            outcome,
            attempt=message.attempt,
            policy=campaign.retry if campaign is not None else RetryPolicy(),
            on_doubt=campaign.on_doubt if campaign is not None else OnDoubt.HOLD,
            now=self._clock(),
            jitter=random.random(),  # noqa: S311  # spreads retries, guards no secret
        )
        settlement = Settlement(
            seq=message.seq,
            message=message.id,
            parted=bool(message.accepted),
            attempt=message.attempt,
            incarnation=self._spool.lease.incarnation,
            provider=provider,
            verdict=decided,
        )
        done = await self._spool.store.transact(settle, [settlement], now=self._clock())
        if done or isinstance(outcome, Sent):
            logger.info("outcome_late", message_id=message.id, provider=provider, then=decided.status or decided.state)
        self._spool.wake()
        if not done and isinstance(outcome, Sent):
            # It was to be sent again, perhaps.
            taken = Receipt(provider=provider, provider_id=outcome.provider_id, own_id=message.id, delivery=None)
            await self.receipt(taken)

    # -- what time brings ----------------------------------------------------------------------------------------

    async def keep_looking(self) -> None:
        """Give parked receipts and unfinished SMS their time. Runs until cancelled."""
        tidied_at = float("-inf")
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self.look()
                if loop.time() - tidied_at >= TIDY_EVERY_S:
                    await self.tidy()
                    tidied_at = loop.time()
                self._spool.database_answered("parked")
            except DatabaseGone as error:
                self._spool.database_failed(error, "parked")
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look again at parked receipts that are due, and join what there is of SMS whose parts do not come."""
        transact, now = self._spool.store.transact, self._clock()
        look_at, has_parts = await self._spool.store.read(_what_waits)
        while (
            look_at is not None
            and look_at <= now
            and (await transact(look_again, now=now, most=MOST_RECEIPTS))[0] == MOST_RECEIPTS
        ):
            pass
        if has_parts:
            self._tell(await transact(join_late, self._door(), now=now, most=MOST_INBOUND))

    async def tidy(self) -> None:
        """Forget, in steps, what no receipt and no repetition can be about any more."""
        transact, now = self._spool.store.transact, self._clock()
        given_up = 0
        while count := await transact(expire_parked, before=now - PARKED_FOR, most=MOST_TIDIED):
            given_up += count
        if given_up:
            logger.warning("receipts_unmatched", count=given_up)
        while await transact(forget_parts, before=now - KEPT, now=now, most=MOST_TIDIED) == MOST_TIDIED:
            pass
        while await transact(forget_inbound_parts, now=now, most=MOST_TIDIED) == MOST_TIDIED:
            pass


def _what_waits(connection: Connection) -> tuple[datetime | None, bool]:
    """Return when the next parked receipt is due, and whether long SMS are unfinished: mostly there is neither."""
    return next_look(connection), has_open(connection)


def canonical(phone: str, campaign: Campaign | None) -> str | None:
    """Return a sender's number as addresses are compared: read as of the campaign's country, or as it stands abroad."""
    region = campaign.region if campaign is not None else None
    for spelling in (phone, f"+{phone}"):
        try:
            return addresses.canonical(spelling, Channel.SMS, region)
        except BadAddress:
            continue
    return address_of(phone)


def confirmation(campaign: Campaign, destination: str, answer: str, now: datetime) -> NewMessage | None:
    """Return the message of a campaign that confirms an opt-out or its end; None if it cannot be sent."""
    if campaign.channel is not Channel.SMS:
        return None
    spelling = destination
    try:
        try:
            examined = examine(campaign, spelling, answer, None)
        except BadAddress:
            spelling = f"+{destination}"
            examined = examine(campaign, spelling, answer, None)
    except (BadAddress, BadText) as refused:
        logger.warning("confirmation_refused", campaign=campaign.name, reason=refused.reason)
        return None
    return NewMessage(
        id=new_id(),
        campaign=campaign.name,
        destination=spelling,
        data=answer,
        priority=URGENT,
        due_at=now,
        due_since=now,
        queued_at=now,
        address=examined.address,
        zone=examined.zone,
        parts=examined.parts,
    )
