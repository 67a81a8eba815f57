"""What a mail says: its subject, its HTML and its text, with the variables filled in."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from html import escape

from dialerd.mail import unsubscribe
from dialerd.mail.attachments import check_path
from dialerd.mail.details import Details, read_details
from dialerd.mail.headers import one_line
from dialerd.mail.plain import looks_like_html, text_of
from dialerd.mail.templates import compiled
from dialerd.model.campaign import Campaign, EmailPart
from dialerd.model.errors import BadText
from dialerd.model.placeholders import PLACEHOLDER, completed, filled

__all__ = ["NoTemplate", "Wording", "check", "word"]

#: Variables that every mail has, unless it brings its own: where the recipient unsubscribes, if the campaign has that.
UNSUBSCRIBE_URL = "unsubscribe_url"
LINK = re.compile(rf"\$\{{ *{UNSUBSCRIBE_URL} *\}}|\{{\{{ *{UNSUBSCRIBE_URL} *\}}\}}")

LONGEST_SUBJECT = 1000


class NoTemplate(BadText):
    """A message asks for a template that is not there (any more)."""


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of one mail; `html` is None for a mail that is text only. `text` makes it when it is asked for."""

    subject: str
    html: str | None
    text: Callable[[], str]
    unsubscribe: str | None


def word(campaign: Campaign, email: EmailPart, address: str, data: str, details: Details) -> Wording:
    """Return what the mail to `address` (in canonical form) says: its body, or what its template makes of it.

    Raises BadText where it says nothing, where a variable is missing, and NoTemplate where its template is.
    """
    link = unsubscribe.link(email, campaign.name, address)
    given = details.variables
    variables = given if link is None else {UNSUBSCRIBE_URL: link, **given}
    fill = partial(filled, variables=variables, missing=campaign.missing) if given else partial(_linked, link=link)
    subject = one_line(details.subject)
    # What the campaign itself says is meant to be filled in, as its template is.
    subject = one_line(fill(subject) if subject else completed(email.subject, variables, missing=campaign.missing))
    if len(subject) > LONGEST_SUBJECT:
        raise BadText(f"the subject has {len(subject)} characters, and {LONGEST_SUBJECT} are the most", "too long")
    name = details.template or email.template
    if data.strip():
        if looks_like_html(data):
            return Wording(subject, fill(data, as_html=True), lambda: fill(_text_of(data)), link)
        return Wording(subject, None, partial(fill, data), link)
    if name is None and (details.attachments or details.invitation):
        return Wording(subject, None, lambda: "", link)
    if name is None:
        raise BadText("the mail has no body, and its campaign no template", "empty text")
    source = email.templates.get(name)
    if source is None:
        raise NoTemplate(f"no template {name!r} in the folder templates", "bad text")
    template = compiled(source, campaign.missing)
    html = template.html(variables) if template.has_html else None
    return Wording(subject, html, partial(template.text, variables), link)


def check(campaign: Campaign, address: str, data: str, details: Mapping[str, object] | None) -> None:
    """Raise BadText where a mail to this address could not be composed; the attachments' files are not looked at."""
    if campaign.email is None:  # its driver says so, and the message waits
        return
    asked = read_details(details, campaign.zone)
    wording = word(campaign, campaign.email, address, data, asked)
    if wording.html is None:
        wording.text()
    if asked.attachments and campaign.email.attachments is None:
        raise BadText(
            f"campaign {campaign.name} sends no attachments: its key email.attachments is not set", "bad text"
        )
    for path in asked.attachments:
        check_path(path)


def _linked(text: str, *, link: str | None, as_html: bool = False) -> str:
    """Return a text that brings no variables with the recipient's link in it where it asks for that."""
    return text if link is None else LINK.sub(lambda _: escape(link) if as_html else link, text)


@lru_cache(maxsize=64)
def _text_of(html: str) -> str:
    """Return the text of a body; those of a base mostly have the same, but for the variables."""
    return text_of(html, PLACEHOLDER)
