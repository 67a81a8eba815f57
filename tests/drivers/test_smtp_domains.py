"""The whole engine and a mail server that refuses one recipient domain."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from dialerd.drivers.smtp import Smtp
from dialerd.model.breaker import Breaker
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.message import Channel
from dialerd.model.outcome import Outcome
from dialerd.settings import Security, SmtpProvider
from dialerd.store.spool import NewMessage
from tests.fakes.smtp import SmtpServer
from tests.rig import Rig, message

EMAIL = EmailPart(sender="Ventas <ventas@example.com>", subject="Novedades")
CAMPAIGN = Campaign(name="Correo", channel=Channel.EMAIL, provider="p", email=EMAIL)

BAD, GOOD = 60, 200


class Watched(Breaker):
    """A breaker that remembers by what it was shut."""

    shut: ClassVar[list[Outcome]] = []

    def saw(self, outcome: Outcome, *given: float, **named: Any) -> bool:
        is_shut = super().saw(outcome, *given, **named)
        if is_shut:
            self.shut.append(outcome)
        return is_shut


def to(domain: str, count: int) -> list[NewMessage]:
    return [message("Correo", destination=f"a{n}@{domain}", address=f"a{n}@{domain}") for n in range(count)]


@pytest.mark.parametrize("refusal", ["421 4.7.0 too many from you", "450 4.7.1 greylisted"])
async def test_one_bad_domain_slows_no_other(sqlite_url: str, tmp_path: Path, refusal: str) -> None:
    """All mails to other domains go while one refuses, though its own stand before them; then these go as well.

    Its 421 costs no attempt and is not asked for in a busy loop, its 450 costs each mail one; the provider stays up.
    """
    async with SmtpServer() as server:
        server.says = {"RCPT": lambda argument: refusal if "@bad.example>" in argument else None}
        provider = SmtpProvider(
            name="p", host="127.0.0.1", port=server.port, security=Security.NONE, connections=5, timeout_s=20.0
        )
        driver = Smtp(provider, {"Correo": CAMPAIGN})
        async with Rig(sqlite_url, tmp_path, driver, CAMPAIGN, max_in_flight=20) as rig:  # type: ignore[arg-type]
            rig.dialer.breaker = breaker = Watched(20)
            breaker.shut.clear()
            await rig.submit(*to("bad.example", BAD), *to("good.example", GOOD))
            await rig.until_sent(GOOD)

            assert not breaker.shut
            assert len({mail.recipients for mail in server.mails}) == GOOD
            attempts = dict(await rig.rows("SELECT attempts, count(*) FROM sms_spool GROUP BY attempts"))
            if refusal.startswith("421"):
                assert attempts == {0: BAD}
                assert server.commands["RCPT"] - GOOD < BAD / 2

                server.says = {}
                await rig.until_sent(BAD + GOOD)
                assert [(1,)] == await rig.rows("SELECT DISTINCT attempts FROM sms_repo")
            else:
                assert attempts.keys() <= {0, 1}
        await driver.close()
