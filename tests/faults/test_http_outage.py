"""A gateway that goes away behind its proxy, and comes back: what the night costs."""

from pathlib import Path
from typing import Any

from dialerd.drivers.http import Http
from dialerd.settings import HttpProvider
from tests.fakes.gateway import Gateway, answer
from tests.rig import Rig, message

BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


async def test_behind_a_proxy(tmp_path: Path) -> None:
    """While a proxy answers for a gateway that is away, few messages are in doubt and none fails; the rest goes later.

    The probe sees that the gateway is away, so that no message is spent on finding out.
    """
    async with Gateway(says=answer("", 502), head=BAD_GATEWAY) as gateway:
        driver: Any = Http(HttpProvider(name="p", url=gateway.url, max_in_flight=5), {})
        async with Rig(f"sqlite:///{tmp_path}/d.db", tmp_path, driver, max_in_flight=5) as rig:
            await rig.submit(*(message() for _ in range(40)))
            await rig.until("SELECT count(*) > 4 FROM sms_spool WHERE state = 'in_doubt'", True)
            await gateway.probed()
            doubts = (await rig.states())["in_doubt"]
            assert len(gateway.asked) == doubts < 15

            gateway.says, gateway.head = answer(), answer()
            await rig.until_sent(40 - doubts)
            assert await rig.states() == {"in_doubt": doubts}
        await driver.close()
