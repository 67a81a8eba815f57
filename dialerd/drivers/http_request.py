"""What a gateway is asked for one message: an http provider's templates filled in, with its credentials."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dialerd.drivers.http_credentials import authorization_of, secrets_of, without_login
from dialerd.drivers.http_template import (
    FORM,
    encoder_for,
    fields_filler,
    header_line,
    json_filler,
    octets,
    plain,
    text_filler,
    url_filler,
)
from dialerd.examine import number_for
from dialerd.model.campaign import Campaign, UnicodeRule
from dialerd.model.message import Message
from dialerd.model.placeholder import placeholders
from dialerd.model.text import Coding, encode, transliterate
from dialerd.settings import HttpProvider, Method

__all__ = ["Request", "Requests"]

#: Placeholders that tell how a text is coded.
CODED = frozenset({"coding", "hex"})

#: A dial string: `(0.3)` is 0, 1, 2, 3 in turn, `0,2,5` these three. Longer numbers are sender ids.
DIAL_STRING = re.compile(r"\((\d{1,2})\.(\d{1,2})\)|(\d{1,2}(?:,\d{1,2})*)")


@dataclass(slots=True)  # as Message
class Request:
    """What goes to the gateway; `private` is what the answer must not repeat in our errors.

    `named` is how the request calls the message, where the gateway calls it so too.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    private: tuple[str, ...] = field(repr=False)
    named: str | None = None


class Requests:
    """Makes the requests of one provider. It has a memory only for ports, which are used in turn."""

    def __init__(self, provider: HttpProvider, campaigns: Mapping[str, Campaign]) -> None:
        self._provider = provider
        self._campaigns = campaigns
        self._turns: dict[str, int] = {}
        carries = provider.form is not None or provider.json is not None or provider.body is not None
        self.method = provider.method or (Method.POST if carries else Method.GET)
        url, login = without_login(provider.url or "")
        #: Where the gateway is: scheme, host and port.
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        charset = provider.charset
        self._url = url_filler(url, charset)
        self._query = fields_filler(provider.query, charset)
        self._form = fields_filler(provider.form, charset)
        self._json = json_filler(provider.json) if provider.json is not None else None
        given = {name.lower(): value for name, value in provider.headers.items()}
        kind = given.get("content-type") or _kind_of(provider)
        self._body = (
            text_filler(provider.body, encoder_for(kind, charset), must=True) if provider.body is not None else None
        )
        self._headers = [(name, text_filler(text, header_line)) for name, text in provider.headers.items()]
        self._fixed = {"Content-Type": kind} if kind and "content-type" not in given else {}
        if authorization := authorization_of(provider, login):
            self._fixed["Authorization"] = authorization
        if provider.idempotency_key is not None:
            self._headers.append((provider.idempotency_key, text_filler("${id}", header_line)))
        self._named = text_filler(provider.id.given, plain) if provider.id is not None and provider.id.given else None
        self._needs = frozenset(
            found.name
            for part in (provider.url, provider.query, provider.form, provider.json, provider.body, provider.headers)
            for found in placeholders(part)
        )
        self._secrets = secrets_of(provider, login)

    def of(self, message: Message) -> Request:
        """Return what to ask for a message.

        Raises BadAddress or BadText (both Refused) when the provider does not accept the number, or the text cannot
        be sent.
        """
        values = self._values(message)
        url = self._url(values) or ""
        if query := self._query(values):
            url += ("&" if "?" in url else "?") + query
        headers = dict(self._fixed)
        for name, fill in self._headers:
            if (text := fill(values)) is not None:
                headers[name] = text
        private = (values["phone"], message.destination, message.address, message.data, values["message"])
        named = self._named(values) if self._named is not None else None
        return Request(self.method, url, headers, self._content(values), (*private, *self._secrets), named)

    def _content(self, values: Mapping[str, str]) -> bytes | None:
        if self._provider.form is not None:
            return self._form(values).encode()
        if self._json is not None:
            return json.dumps(self._json(values)).encode()
        if self._body is not None:
            return octets(self._body(values) or "", self._provider.charset)
        return None

    def _values(self, message: Message) -> dict[str, str]:
        campaign = self._campaigns.get(message.campaign)
        rule = campaign.unicode if campaign is not None else UnicodeRule.AUTO
        text = transliterate(message.data) if rule is UnicodeRule.TRANSLITERATE else message.data
        region = campaign.region if campaign is not None else None
        codings = self._provider.coding
        values = dict(self._provider.parameters)
        values |= {
            "phone": number_for(self._provider, message.channel, message.destination, message.address, region),
            "message": text,
            "id": message.id,
            "source": message.source or "",
            "campaign": message.campaign,
            "agent": message.agent or "",
            "base": message.base or "",
            "parts": str(message.parts),
            "seq": str(message.seq),
        }
        # The rest is costly, or needless: a plain text can be sent by any rule.
        if self._needs & CODED or not text or not text.isascii() or not text.isprintable():
            encoded = encode(message.data, rule)
            values["coding"] = codings.gsm7 if encoded.coding is Coding.GSM7 else codings.ucs2
            values["hex"] = b"".join(encoded.parts).hex()
        if "port" in self._needs:
            values["port"] = self._port(message)
        return values

    def _port(self, message: Message) -> str:
        """Return the next port of the message's, its campaign's or the provider's dial string, "" without one."""
        for dial_string in (message.source, self._provider.parameters.get("ports")):
            found = DIAL_STRING.fullmatch(dial_string or "")
            if dial_string and found:
                if found[3]:
                    ports = found[3].split(",")
                else:
                    first, last = sorted((int(found[1]), int(found[2])))
                    ports = [str(port) for port in range(first, last + 1)]
                turn = self._turns.get(dial_string, 0)
                self._turns[dial_string] = turn + 1
                return ports[turn % len(ports)]
        return ""


def _kind_of(provider: HttpProvider) -> str | None:
    if provider.form is not None:
        return FORM
    if provider.json is not None:
        return "application/json"
    if provider.body is None:
        return None
    begin = provider.body.lstrip()[:1]
    kinds = {"<": f"application/xml; charset={provider.charset}", "{": "application/json", "[": "application/json"}
    return kinds.get(begin, f"text/plain; charset={provider.charset}")
