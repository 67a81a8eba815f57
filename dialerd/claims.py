"""Claims the next messages for one provider: what rules, permits and pace let start now."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from dialerd import log
from dialerd.agenda import Agenda
from dialerd.examine import Examined
from dialerd.model.campaign import Campaign
from dialerd.model.errors import DatabaseGone
from dialerd.model.message import Message
from dialerd.model.pace import HORIZON_S
from dialerd.permits import Permits, is_awake
from dialerd.spool import Spool
from dialerd.store.order import Claimed, Order

__all__ = ["Claims"]

logger = log.get(__name__)

#: How long to wait before asking again when the database is away or our lease has run out.
TROUBLE_S = 0.5
#: A failure older than this says nothing of now.
RECENT_S = 30.0


class Claims:
    """Asks the spool. `agenda` is told when to ask again; `up_to_seq` leaves out what came later, None: nothing."""

    def __init__(
        self,
        provider: str,
        spool: Spool,
        permits: Permits,
        agenda: Agenda,
        *,
        examine: Callable[[Campaign, str, str, Mapping[str, Any] | None], Examined],
        accepts: Callable[[Campaign, str, str], bool] | None,
    ) -> None:
        self.up_to_seq: int | None = None
        self._provider = provider
        self._spool = spool
        self._permits = permits
        self._agenda = agenda
        self._examine = examine
        self._accepts = accepts
        self._time = asyncio.get_running_loop().time
        #: The first and the last of the claims in a row that failed for another reason than the database being away.
        self._failed: tuple[float, float] | None = None
        #: Each campaign as it was at the last claim of its messages.
        self._under: dict[str, Campaign] = {}

    @property
    def failing_since(self) -> float | None:
        """Since when claims fail though the database answers; None: they do not, or none was tried of late."""
        since, last = self._failed or (0.0, float("-inf"))
        return since if self._time() - last <= RECENT_S else None

    def rules_of(self, message: Message) -> Campaign:
        """Return a claimed message's campaign as it is now.

        One whose file has gone, or that names another provider by now, is returned as it was at the claim.
        """
        return self._permits.campaigns.get(message.campaign) or self._under[message.campaign]

    async def next(self, window: int) -> Claimed | None:
        """Claim what may start within the horizon, while at most `window` permits are out; None if nothing may."""
        self._agenda.clear()
        if not self._spool.lease.valid:
            self._agenda.ask_in(TROUBLE_S)
            return None
        asked_at = self._time()
        order = self._order(window, asked_at)
        if self._permits.is_late:
            self._agenda.ask_in(HORIZON_S / 2)
        if order is None:
            self._spool.database_answered(self._purpose)
            return None
        try:
            claimed = await self._spool.claim(order)
        except DatabaseGone as error:
            self._spool.database_failed(error, self._purpose)
            self._agenda.ask_in(TROUBLE_S)
            return None
        except Exception:
            # A bug, or tables that somebody has changed: whoever runs us begins anew, and vitals watches how long.
            self._failed = (self.failing_since or self._time(), self._time())
            raise
        self._spool.database_answered(self._purpose)
        self._failed = None
        logger.debug(
            "messages_claimed", provider=self._provider, count=len(claimed.messages), free_in_s=claimed.free_in_s
        )
        self._permits.gone_out(claimed.messages, asked_at)
        self._under.update({campaign.name: campaign for _, _, campaign, _ in claimed.taken})
        if claimed.free_in_s is not None:
            self._agenda.ask_in(claimed.free_in_s)
        if claimed.more and (claimed.messages or claimed.ended or claimed.free_in_s is None):
            self._agenda.add_work()
        return claimed

    @property
    def _purpose(self) -> str:
        return f"claim for {self._provider}"

    def _order(self, window: int, asked_at: float) -> Order | None:
        now = self._spool.clock()
        free = self._permits.free(window, asked_at)
        terms = self._permits.terms(now, free) if free > 0 else {}
        if not terms:
            return None
        return Order(
            provider=self._provider,
            provider_interval_s=self._permits.interval_s,
            incarnation=self._spool.lease.incarnation,
            node=self._spool.lease.node,
            now=now,
            permits=free,
            terms=terms,
            awake=lambda campaign, zone: is_awake(campaign, zone, now),
            examine=self._examine,
            up_to_seq=self.up_to_seq,
            accepts=self._accepts,
            learned=self._permits.learned(asked_at),
        )
