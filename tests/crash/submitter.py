"""A process that submits and schedules through intake, as the HTTP interface does, until it is killed."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dialerd.intake import schedule, submit
from dialerd.settings import load
from dialerd.store import Store

__all__ = ["submit_many"]


def submit_many(config: str, told: str, campaign: str) -> None:
    """Write each id down as soon as the call has returned: from then on the message is accepted."""
    asyncio.run(_submit_many(Path(config), Path(told), campaign))


async def _submit_many(config: Path, told: Path, campaign: str) -> None:
    settings = load(config)
    store = Store(settings.database.url)
    with told.open("a") as file:
        for number in range(2000):
            now = datetime.now(UTC)
            message = {"campaign": campaign, "destination": f"5989{number:07}", "data": "hola", "now": now}
            if number % 2:
                id_ = await submit(store, settings, **message)
            else:
                # Some in the past, some in the minute that has been promoted already.
                id_ = await schedule(store, settings, when=now + timedelta(seconds=number % 5 - 2), **message)
            file.write(f"{id_}\n")
            file.flush()
