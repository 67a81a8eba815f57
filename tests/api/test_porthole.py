"""/porthole/: forms of other origins send SMS through it, in a real browser with the real Porthole library."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.api.conftest import PASSWORD, MakeSite
from tests.fakes.chromium import Page, chromium
from tests.peers import node_module

#: The form of the original's documentation, and what it needs around it. It hears answers as Porthole tells them.
FORM = """<!doctype html><script src="/porthole.js"></script><script>
var windowProxy = new Porthole.WindowProxy(window.location.protocol + window.location.hostname);
windowProxy.addEventListener(function (event) {
  console.log('answer ' + JSON.stringify(event.data) + ' from ' + event.origin);
});
function SMS (given) {
  windowProxy.post(Object.assign(
    {'action': 'sms', 'campaign': 'Ventas->', 'message': 'Hola ñ', 'destination': '098344484'}, given));
}
function plain (given) {
  window.addEventListener('message', function (event) { console.log('plain ' + JSON.stringify(event.data)); });
  window.parent.postMessage(Object.assign(
    {action: 'sms', campaign: 'Ventas->', message: 'plain', destination: '098344485'}, given), '*');
}
</script>"""

#: The portal hands its user's token to the page that says it is ready, and to nobody else.
PORTAL = """<!doctype html><iframe src="{desk}?form={form}"></iframe><iframe src="{stranger}"></iframe><script>
var token = '{token}';
window.addEventListener('message', function (event) {{
  if (event.origin === '{api}' && event.data.action === 'ready')
    event.source.postMessage({{action: 'token', token: token}}, '{api}');
}});
</script>"""

#: Someone who stands beside the form, and asks for the same.
STRANGER = """<!doctype html><script>
window.addEventListener('message', function (event) { console.log('stranger heard ' + JSON.stringify(event.data)); });
function attack () {
  var sms = {action: 'sms', campaign: 'Ventas->', message: 'stolen', destination: '098344486'};
  var desk = window.parent.frames[0];
  desk.postMessage(sms, '*');
  desk.postMessage(JSON.stringify({data: sms, sourceOrigin: '%s', targetOrigin: '*'}), '*');
  desk.postMessage({action: 'token', token: 'mine'}, '*');
}
</script>"""

END = "/Integra/resources/auth/EndSession"
FRAMING = '<!doctype html><iframe src="{desk}"></iframe>'


@dataclass
class Server:
    """Serves pages by their paths, from an origin of its own."""

    origin: str = ""
    pages: dict[str, str] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.Response:
        kind = "text/javascript" if request.path.endswith(".js") else "text/html"
        if request.path not in self.pages:
            raise web.HTTPNotFound
        return web.Response(text=self.pages[request.path], content_type=kind)


@asynccontextmanager
async def serving(*servers: Server) -> AsyncIterator[None]:
    runners = []
    for server in servers:
        runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await asyncio.gather(*(runner.cleanup() for runner in runners))


async def answer_of(page: Page, pattern: str = "^answer ", number: int = 1) -> Any:
    """Return the number-th answer that the form has heard."""
    lines = await page.heard(pattern, number)
    return json.loads(lines[number - 1].partition(" ")[2].partition(" from ")[0])


async def test_a_form_in_a_portal(site_with: MakeSite, tmp_path: Path) -> None:
    """A form of an allowed origin sends as the user of the portal, once for two clicks; a stranger beside it cannot."""
    forms, portal, stranger = Server(), Server(), Server()
    library = node_module("porthole-proxy") / "lib" / "porthole.min.js"
    forms.pages = {"/form": FORM, "/porthole.js": library.read_text()}
    async with (
        serving(forms, portal, stranger),
        site_with(api=f"origins = {json.dumps([forms.origin, portal.origin])}") as site,
        chromium(tmp_path / "profile") as browser,
    ):
        api = site.url("")
        desk = site.url("/porthole/")
        token = await site.token()
        stranger.pages = {"/": STRANGER % forms.origin, "/framing": FRAMING.format(desk=desk)}
        portal.pages["/"] = PORTAL.format(
            desk=desk, form=f"{forms.origin}/form", stranger=f"{stranger.origin}/", api=api, token=token
        )
        page = await browser.open(f"{portal.origin}/")
        await page.evaluate(LOGGED_IN, origin=api)

        await page.evaluate("attack()", origin=stranger.origin)
        await page.evaluate("{ SMS(); SMS(); }", origin=forms.origin)
        first, second = await answer_of(page), await answer_of(page, number=2)
        assert first == second == {"action": "sms", "result": "OK", "id": first["id"]}
        assert f"from {api}" in page.said[-1]
        rows = await site.rows("SELECT data, destination, agent, priority FROM sms_spool")
        assert [("Hola ñ", "098344484", "ana", 1)] == rows
        assert not [line for line in page.said if line.startswith("stranger heard")]

        await page.evaluate("SMS({campaign: 'nobody'})", origin=forms.origin)
        refused = await answer_of(page, number=3)
        assert ("ERROR", True) == (refused["result"], "unknown campaign" in refused["error"])
        await page.evaluate("SMS({destination: undefined})", origin=forms.origin)
        assert "missing: destination" == (await answer_of(page, number=4))["error"]
        # The token is where it was, and nobody else's to read.
        peek = "(() => { try { return parent.sessionStorage.length } catch (error) { return error.name } })()"
        assert "SecurityError" == await page.evaluate(peek, origin=forms.origin)
        assert token == await page.evaluate("sessionStorage.getItem('dialerd.token')", origin=api)

        # A token that has ended is asked for again.
        await site.post(END, {"user": "ana", "token": token})
        fresh = await site.token()
        await page.evaluate(f"token = '{fresh}'", origin=portal.origin)
        await page.evaluate("SMS({message: 'late'})", origin=forms.origin)
        assert "token" in (await answer_of(page, number=5))["error"]
        await page.evaluate(LOGGED_IN, origin=api)
        await page.evaluate("SMS({message: 'late'})", origin=forms.origin)
        assert "OK" == (await answer_of(page, number=6))["result"]

        # Nobody else may put the page into a frame.
        framing = await browser.open(f"{stranger.origin}/framing")
        await framing.heard("frame-ancestors")
        assert [("Hola ñ",), ("late",)] == await site.rows("SELECT data FROM sms_spool ORDER BY seq")


#: Resolves once somebody is logged in, or nobody is.
LOGGED_IN = """new Promise((done) => {
  const login = document.getElementById('login');
  const look = () => { if (login.hidden) done(true); };
  new MutationObserver(look).observe(login, {attributes: true});
  look();
})"""
LOGGED_OUT = LOGGED_IN.replace("login.hidden", "!login.hidden")
LOG_IN = """(() => {
  const form = document.getElementById('login');
  form.elements.user.value = 'ana';
  form.elements.password.value = '%s';
  form.requestSubmit();
})()"""


async def test_a_page_of_its_own(site_with: MakeSite, tmp_path: Path) -> None:
    """Without a portal the agent logs in on the page; a form needs no library; an ended token sends no more."""
    forms = Server()
    forms.pages["/form"] = "<!doctype html><script>" + FORM[FORM.index("function plain") :]
    async with (
        serving(forms),
        site_with(api=f"origins = {json.dumps([forms.origin])}") as site,
        chromium(tmp_path / "profile") as browser,
    ):
        api = site.url("")
        page = await browser.open(site.url(f"/porthole/?form={forms.origin}/form"))
        await page.evaluate(LOGGED_OUT, origin=api)
        await page.evaluate("plain()", origin=forms.origin)
        assert "nobody is logged in" == (await answer_of(page, "^plain "))["error"]

        await page.evaluate(LOG_IN % PASSWORD, origin=api)
        await page.evaluate(LOGGED_IN, origin=api)
        await page.evaluate("plain()", origin=forms.origin)
        told = await answer_of(page, "^plain ", 2)
        assert ("OK", [("plain", "ana")]) == (told["result"], await site.rows("SELECT data, agent FROM sms_spool"))

        # As when another tab has logged out: the first answer says so, and the page asks to log in again.
        token = await page.evaluate("sessionStorage.getItem('dialerd.token')", origin=api)
        assert "1" == (await site.post(END, {"user": "ana", "token": token}))[1]
        await page.evaluate("plain({message: 'late'})", origin=forms.origin)
        assert "token" in (await page.heard("^plain .*ERROR.*token", 1))[0]
        await page.evaluate(LOGGED_OUT, origin=api)
        assert [(1,)] == await site.rows("SELECT count(*) FROM sms_spool")


async def test_who_is_served(site_with: MakeSite) -> None:
    """Without origins there is no /porthole/; with them no form of others gets into it, however its URL is written."""
    async with site_with() as site:
        assert 404 == (await site.get("/porthole/"))[0]
        assert 404 == (await site.get("/porthole/portal.js"))[0]
    origin = "https://forms.example.com"
    async with site_with(api=f'origins = ["{origin}"]') as site:
        for form in (
            "http://forms.example.com/", "https://forms.example.com:8443/", "https://forms.example.com.evil.example/",
            "https://forms.example.com@evil.example/", "https://forms.example.com\\@evil.example/", "/x",
            "//forms.example.com/", "https://forms.example.com\t.evil.example/", "data:text/html,x",
            "javascript:alert(1)", "https://FORMS.example.com/", " https://forms.example.com/", "https://[/",
        ):  # fmt: skip
            assert (form, 400) == (form, (await site.get("/porthole/", params={"form": form}))[0])
        async with site.client.get(site.url("/porthole/"), params={"form": f'{origin}/f?a="><script>'}) as answer:
            policy = answer.headers["Content-Security-Policy"]
            text = await answer.text()
        assert 200 == answer.status
        assert f"frame-ancestors 'self' {origin}" in policy
        assert "'unsafe" not in policy
        assert '"><script>' not in text
        status, script, _ = await site.get("/porthole/portal.js")
        assert (200, True) == (status, script.startswith(f'const ORIGINS = ["{origin}"];'))
