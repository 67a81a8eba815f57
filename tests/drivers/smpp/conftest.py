"""A scripted SMSC, and providers that are it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from dialerd.drivers.smpp import Smpp
from dialerd.settings import SmppProvider
from tests.fakes.smsc import Smsc

__all__ = ["Make", "make_provider"]

#: Returns a driver for the scripted SMSC, with keys of one's own; it is closed when the test ends.
Make = Callable[..., Smpp]


def make_provider(smsc: Smsc, **keys: Any) -> SmppProvider:
    """Return the [providers.smsc] that names the scripted SMSC."""
    given: dict[str, Any] = {
        "name": "smsc", "host": "127.0.0.1", "port": smsc.port, "system_id": "dialerd",
        "password": SecretStr("secret"), "response_timeout_s": 5.0,
    }  # fmt: skip
    return SmppProvider(**given | keys)


@pytest.fixture
async def smsc() -> AsyncIterator[Smsc]:
    """An SMSC that takes everything."""
    smsc = Smsc()
    await smsc.start()
    yield smsc
    await smsc.stop()


@pytest.fixture
async def make(smsc: Smsc) -> AsyncIterator[Make]:
    """Return a function that makes drivers."""
    made: list[Smpp] = []

    def make(**keys: Any) -> Smpp:
        made.append(Smpp(make_provider(smsc, **keys), {}))
        return made[-1]

    yield make
    for driver in made:
        await driver.close()
