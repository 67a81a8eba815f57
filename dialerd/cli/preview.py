"""`dialerd preview`: what a campaign's message says, with variables filled in; nothing is opened or sent."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from dialerd.cli.completion import campaign_names
from dialerd.cli.frame import Frame, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import print_json
from dialerd.model.errors import Refused, UnknownCampaign
from dialerd.model.message import URGENT, Channel, Message, new_id
from dialerd.model.outcome import Deferred, Failed, Postponed
from dialerd.model.placeholders import filled

if TYPE_CHECKING:
    import email
    from email import policy
    from email.message import EmailMessage

    from dialerd import examine
    from dialerd.mail import composer
    from dialerd.model.campaign import Campaign
    from dialerd.model.mail import Mail
else:
    email, policy = later("email", "email.policy")
    examine, composer = later("dialerd.examine", "dialerd.mail.composer")

__all__ = ["preview"]

#: To whom a preview goes that names nobody (RFC 2606).
SOMEBODY = "somebody@example.com"


@click.command()
@examples(
    """dialerd preview Novedades --variables '{"name": "Ana"}' --mime""",
    """dialerd preview 'Ventas->' --text 'Hola ${name}' --variables '{"name": "A"}'""",
)
@click.argument("campaign", shell_complete=campaign_names)
@click.option("--variables", metavar="JSON", help="An object with names and values.")
@click.option("--to", metavar="ADDRESS", help=f"Who would get it.  [default for e-mail: {SOMEBODY}]")
@click.option("--text", default="", metavar="TEXT", help="The message's own text, or body.  [default: the template]")
@click.option("--subject", metavar="TEXT", help="The message's own subject.  [default: the campaign's]")
@click.option("--template", metavar="NAME", help="Another template than the campaign's.")
@click.option("--attach", "attachments", metavar="PATH", multiple=True, help="A file that goes with it; several times.")
@click.option("--mime", is_flag=True, help="Show the whole mail as a mail server would get it.")
@json_option
@pass_frame
async def preview(
    frame: Frame,
    campaign: str,
    variables: str | None,
    to: str | None,
    text: str,
    subject: str | None,
    template: str | None,
    attachments: tuple[str, ...],
    mime: bool,
    as_json: bool,
) -> None:
    """Show what a message of a campaign would say.

    Variables are filled in, and a missing one is named. Shows an e-mail's subject, text and parts, or the whole of it
    (--mime), and how many parts an SMS has. Opens no connection and sends nothing.
    """
    known = frame.settings.campaigns.get(campaign)
    if known is None:
        raise UnknownCampaign(campaign, frame.settings.campaigns)
    details: dict[str, Any] = {"variables": _variables(variables)}
    if known.channel is Channel.SMS:
        for option, given in {
            "--subject": subject,
            "--template": template,
            "--attach": attachments,
            "--mime": mime,
        }.items():
            if given:
                raise click.UsageError(f"{option} is for e-mail, and {campaign} sends SMS")
        _show_sms(known, to, text, details, as_json)
        return
    details |= {"subject": subject, "template": template, "attachments": list(attachments)}
    to = to or SOMEBODY
    examined = examine.examine(known, to, text, details, examine.providers_of(known, frame.settings.providers))
    composed = await composer.Composer({known.name: known}).compose(_message(known, to, examined, text, details))
    if isinstance(composed, Deferred | Postponed | Failed):
        raise Refused(composed.error)
    _show_mail(composed, mime=mime, as_json=as_json)


def _variables(given: str | None) -> dict[str, Any]:
    try:
        found = json.loads(given) if given is not None else {}
    except ValueError as error:
        raise click.UsageError(f"--variables is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.UsageError('--variables is no object, such as {"name": "Ana"}')
    return found


def _message(campaign: Campaign, to: str, examined: examine.Examined, data: str, details: dict[str, Any]) -> Message:
    return Message(
        id=new_id(), seq=0, campaign=campaign.name, channel=campaign.channel, destination=to, address=examined.address,
        data=data, priority=URGENT, base=None, calldate=None, agent=None, source=None, details=details,
        queued_at=datetime.now(UTC), attempt=1, parts=1,
    )  # fmt: skip


def _show_sms(campaign: Campaign, to: str | None, text: str, details: dict[str, Any], as_json: bool) -> None:
    if not text:
        raise Refused(f"{campaign.name} sends SMS, which have no template: say what it says with --text")
    # Without a region any digits are a number: nobody's, unless one was named.
    asked = campaign if to is not None else replace(campaign, region=None, recipient_hours=None)
    examined = examine.examine(asked, to or "000", text, details)
    said = filled(text, details["variables"], missing=campaign.missing)
    if as_json:
        print_json({"campaign": campaign.name, "to": to, "text": said, "parts": examined.parts})
        return
    click.echo(f"Parts: {examined.parts}\n")
    click.echo(said)


def _show_mail(mail: Mail, *, mime: bool, as_json: bool) -> None:
    read = email.message_from_bytes(mail.content, policy=policy.default)
    parts = [_part(part) for part in read.walk() if not part.is_multipart()]
    text, html = (_content(read, kind) for kind in ("plain", "html"))
    if as_json:
        told = {"from": mail.mailbox, "to": mail.recipient, "return_path": mail.sender, "subject": mail.subject}
        print_json(
            {**told, "text": text, "html": html, "parts": parts, "mime": mail.content.decode() if mime else None}
        )
    elif mime:
        click.echo(mail.content, nl=False)
    else:
        for name, value in {"From": mail.mailbox, "To": mail.recipient, "Subject": mail.subject}.items():
            click.echo(f"{name}: {value}")
        for part in parts:
            click.echo(f"Part: {part['type']}, {part['bytes']:,} bytes" + (f", {part['name']}" if part["name"] else ""))
        click.echo(f"\n{text or ''}")


def _part(part: EmailMessage) -> dict[str, Any]:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return {"type": part.get_content_type(), "name": part.get_filename(), "bytes": len(content)}


def _content(read: EmailMessage, kind: str) -> str | None:
    body = read.get_body((kind,))
    return str(body.get_content()).replace("\r\n", "\n") if body is not None else None
