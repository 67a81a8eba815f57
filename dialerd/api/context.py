"""What every call stands in: the store, the settings that hold now, and the parts of the daemon it may use."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request

from dialerd.api.incoming import Incoming
from dialerd.api.meters import Meters
from dialerd.drivers import Inbox
from dialerd.intake import Intake
from dialerd.settings import ApiSettings, Settings
from dialerd.store import Store
from dialerd.users import Users

__all__ = ["Context", "Health", "context_of"]


@dataclass(slots=True)
class Health:
    """What the process knows of itself; `promoting`: it is a daemon, which has to promote every minute."""

    promoting: bool = False
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """`settings` returns those that hold now: a reload changes them. `clock` returns aware UTC.

    `inbox` keeps what providers tell, and SMS that somebody sent to us.
    """

    store: Store
    settings: Callable[[], Settings]
    clock: Callable[[], datetime]
    intake: Intake
    users: Users
    incoming: Incoming
    health: Health
    meters: Meters
    inbox: Inbox

    @property
    def api(self) -> ApiSettings:
        """The [api] table; one that a reload has taken away holds until the process ends."""
        api = self.settings().api
        assert api is not None
        return api


def context_of(request: Request) -> Context:
    """Return the context of a call."""
    context: Context = request.app.state.context
    return context
