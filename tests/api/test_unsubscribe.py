"""Links to unsubscribe, from the mail that carries them to the mail that is not sent any more."""

import email
import email.policy
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from dialerd.mail.unsubscribe import token
from dialerd.model.errors import DatabaseGone
from dialerd.settings import Settings, load
from tests.api.conftest import MakeSite
from tests.crash.harness import Site
from tests.crash.processes import until

MAIL = 'unsubscribe = "https://example.com/unsubscribe"\nsecret = "s3cret-of-campaign"\n'
BLACKLIST = "SELECT channel, value, campaign, reason FROM blacklist"
GOOD = token("s3cret-of-campaign", "Mail", "ana+<b>@example.com")


def with_links(folder: Path) -> Settings:
    """Return the settings of a site whose campaign Mail has links to unsubscribe."""
    file = folder / "config" / "campaigns" / "mail.toml"
    file.write_text(file.read_text() + MAIL)
    return load(folder / "config", environ={})


async def test_only_a_post_acts(site_on_each: MakeSite, tmp_path: Path) -> None:
    """A GET, or HEAD, shows a page and does nothing; a POST blacklists the address, again and again the same."""
    async with site_on_each() as site:
        site.settings = with_links(tmp_path)
        link = f"/unsubscribe?token={GOOD}"
        async with site.client.get(site.url(link), headers={"Accept-Language": "es-UY,en;q=0.5"}) as answer:
            page = await answer.text()
            assert (200, "text/html; charset=utf-8") == (answer.status, answer.headers["Content-Type"])
            assert "no-store" == answer.headers["Cache-Control"]
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert '<html lang="es">' in page
        assert '<form method="post">' in page
        assert "ana+&lt;b&gt;@example.com" in page
        # Nothing comes from elsewhere.
        assert "http" not in page
        assert " src=" not in page
        async with site.client.head(site.url(link)) as answer:
            assert 200 == answer.status
        assert [] == await site.rows(BLACKLIST)

        # As mail programs do it (RFC 8058, section 3.2), as the page's button does, and in another way.
        for given in ({"List-Unsubscribe": "One-Click"}, None):
            status, done, _ = await site.post(link, given)
            assert (200, True) == (status, "Done" in done)
        form = aiohttp.FormData({"List-Unsubscribe": "One-Click"})
        form.add_field("token", GOOD, content_type="text/plain")
        assert 200 == (await site.post("/unsubscribe", form))[0]
        assert [("email", "ana+<b>@example.com", "Mail", "unsubscribed")] == await site.rows(BLACKLIST)
        entry = {"campaign": "Mail", "to": "ana+<b>@example.com", "body": "x"}
        assert 400 == (await site.post("/IntegraChannels/resources/Forms/sendEmail",
                                       json.dumps(entry), headers=await site.headers()))[0]  # fmt: skip


async def test_forged_links(site_with: MakeSite, tmp_path: Path) -> None:
    """A link that is none of ours is a 400 that says so, and does nothing; proxied or not, no other leave is asked."""
    async with site_with() as site:
        site.settings = with_links(tmp_path)
        for bad in ("", "x", GOOD[:-1], GOOD + "A", token("guess", "Mail", "eve@example.com"), "ñ", "\0", "A" * 3000):
            for ask in (site.get, site.post):
                status, page, _ = await ask("/unsubscribe", params={"token": bad})
                assert (400, True) == (status, "not valid" in page)
        assert [] == await site.rows(BLACKLIST)
        headers = {"X-Forwarded-For": "203.0.113.9", "Accept-Language": "fr"}
        assert 200 == (await site.post("/unsubscribe", params={"token": GOOD}, headers=headers))[0]

        async def gone(*_: object, **__: object) -> None:
            raise DatabaseGone("away")

        site.store.transact = gone  # type: ignore[method-assign]
        assert 503 == (await site.post("/unsubscribe", params={"token": GOOD}))[0]


def test_from_the_mail_to_the_blacklist(site_on: Callable[..., Site]) -> None:
    """The link in a mail that the daemon has sent leads to its own API: one click, and the next mail is not sent."""
    options = 'channel = "email"\n[email]\nfrom = "a@example.com"\n' + MAIL
    here = site_on("sqlite", more={"Novedades": options}, providers='[api]\nlisten = "127.0.0.1:0"\n')
    daemon = here.daemon()
    port = daemon.until_event("api_listening")["port"]

    here.call("send", "Novedades", "Ana@example.com", "Hola")
    (line,) = until(lambda: [one for one in here.lines() if one["campaign"] == "Novedades"], "the mail")
    mail = email.message_from_string(line["mime"], policy=email.policy.default)
    assert "List-Unsubscribe=One-Click" == mail["List-Unsubscribe-Post"]
    link = urlsplit(mail["List-Unsubscribe"].strip("<>"))
    assert "/unsubscribe" == link.path
    there = f"http://127.0.0.1:{port}{link.path}?{link.query}"
    with urllib.request.urlopen(there, timeout=30) as page:
        assert b"Unsubscribe" in page.read()
    assert [] == here.rows(BLACKLIST)
    with urllib.request.urlopen(there, data=b"List-Unsubscribe=One-Click", timeout=30) as page:
        assert 200 == page.status

    here.execute("INSERT INTO sms_spool (campaign, destination, data) VALUES ('Novedades', 'ana@EXAMPLE.com', 'again')")
    until(lambda: here.value("SELECT count(*) FROM sms_repo WHERE status = 'blocked'") == 1, "it is blocked")
    assert 1 == len(here.lines())
    daemon.stop()
