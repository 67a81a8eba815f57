"""Daemons with a fault that a test asks for by a file, and with less patience than they have in life."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from tests.crash.processes import command

__all__ = ["hang_in_settle", "hang_in_the_driver", "hang_in_the_loop", "impatient"]


def impatient(answer_s: str = "1") -> None:
    """Be `dialerd run` that soon calls a part stopped, and the database away that has not answered for `answer_s`."""
    from dialerd import store, vitals

    vitals.TURN_S, vitals.ANSWER_S, store.LONGEST_TRANSACTION_S = 1.5, float(answer_s), 1.5
    command("run")


def hang_in_settle() -> None:
    """Be one whose thread hangs in the settlement's transaction for as long as there is a file `hang`."""
    from dialerd import spool

    settle = spool.settle

    def hanging(*args: Any, **given: Any) -> int:
        while Path("hang").exists():
            threading.Event().wait(0.05)
        return settle(*args, **given)

    spool.settle = hanging
    impatient("5")


def hang_in_the_driver() -> None:
    """Be `dialerd run` whose driver gives no outcome for as long as there is a file `hang`."""
    from dialerd.drivers.file import File

    send = File.send

    async def hanging(self: File, message: Any) -> Any:
        while Path("hang").exists():
            await asyncio.sleep(0.05)
        return await send(self, message)

    File.send = hanging  # type: ignore[method-assign]
    command("run")


def hang_in_the_loop() -> None:
    """Be one whose driver holds the event loop up for as long as there is a file `hang`."""
    from dialerd.drivers.file import File

    send = File.send

    async def hanging(self: File, message: Any) -> Any:
        while Path("hang").exists():
            time.sleep(0.05)
        return await send(self, message)

    File.send = hanging  # type: ignore[method-assign]
    command("run")
