"""How many mails a second one core composes: `python -m tests.bench.compose`.

A template of 5 kB, text and HTML together, with three variables, beside what EmailMessage needs for the same mails.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from dialerd.mail.composer import Composer
from dialerd.mail.templates import compiled
from dialerd.model.campaign import Campaign, EmailPart, TemplateSource
from dialerd.model.mail import Mail
from dialerd.model.message import Channel, Message, new_id
from dialerd.model.placeholders import Missing
from tests.mail.composed import a_message

__all__ = ["rates"]

ROW = '<tr><td style="padding: 0 10px">Línea fija nº {0} de la tabla, con señas y ñandúes</td></tr>\n'
LINE = "Línea fija nº {0} del texto, con señas y ñandúes para leer\n"

HTML = (
    "<html><body><p>Estimada {{name}}:</p>\n<table>\n"
    + "".join(ROW.format(number) for number in range(34))
    + '</table>\n<p>Debe <b>{{amount}}</b>; <a href="{{url}}">pague aquí</a>.</p></body></html>\n'
)
TEXT = (
    "Estimada {{name}}:\n\n"
    + "".join(LINE.format(number) for number in range(26))
    + "\nDebe {{amount}}; pague aquí: {{url}}\n"
)
SOURCE = TemplateSource(name="t", html=HTML, text=TEXT)
EMAIL = EmailPart(
    sender="Ventas <ventas@example.com>",
    subject="Su cuenta, ${name}",
    template="t",
    templates={"t": SOURCE},
    unsubscribe="https://example.com/u",
    secret="secret",
    return_path="bounces@example.com",
)
CAMPAIGN = Campaign(name="Correo", channel=Channel.EMAIL, provider="p", email=EMAIL)


def messages(count: int) -> list[Message]:
    """Return so many messages, each to somebody else and with values of its own."""
    return [
        replace(
            a_message("", to=f"persona{number}@example.org"),
            id=new_id(),
            details={
                "variables": {
                    "name": f"Señora {number}",
                    "amount": f"$ {number * 7},50",
                    "url": f"https://example.com/pay/{number}",
                }
            },
        )
        for number in range(count)
    ]


async def ours(some: list[Message]) -> None:
    """Compose them as the drivers do."""
    composer = Composer({"Correo": CAMPAIGN})
    for message in some:
        mail = await composer.compose(message)
        assert isinstance(mail, Mail)


async def stdlib(some: list[Message]) -> None:
    """Compose them with EmailMessage, from the same compiled template."""
    template = compiled(SOURCE, Missing.ERROR)
    for message in some:
        variables = message.details["variables"]
        mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
        mail["From"] = EMAIL.sender
        mail["To"] = message.address
        mail["Subject"] = f"Su cuenta, {variables['name']}"
        mail["Date"] = format_datetime(message.queued_at)
        mail["Message-ID"] = f"<{message.id}@example.com>"
        mail.set_content(template.text(variables))
        mail.add_alternative(template.html(variables), subtype="html")
        mail.as_bytes()


def rate(compose: Callable[[list[Message]], Awaitable[None]], some: list[Message]) -> float:
    """Return how many of them were composed in a second of this process's own time."""

    async def run() -> float:
        await compose(some[:50])
        began = time.process_time()
        await compose(some)
        return len(some) / (time.process_time() - began)

    return asyncio.run(run())


def rates(count: int) -> dict[str, float]:
    """Return mails a second by who composes them."""
    some = messages(count)
    return {"dialerd": rate(ours, some), "EmailMessage": rate(stdlib, some[: max(50, count // 10)])}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    found = rates(parser.parse_args().count)
    print(json.dumps({"template_bytes": len((HTML + TEXT).encode()), **{k: round(v) for k, v in found.items()}}))
