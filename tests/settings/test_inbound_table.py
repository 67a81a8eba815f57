"""[inbound]: which words stop messages, for whom, and what is answered."""

from collections.abc import Callable

import pytest

from dialerd.model.inbound import InboundRules, Scope
from dialerd.settings import Settings

Read = Callable[..., Settings]
Problems = Callable[..., list[str]]


def test_defaults(read: Read, main: str) -> None:
    """Without the table the usual words count, for all campaigns, and nothing is answered."""
    assert read(main).inbound == InboundRules()


def test_every_key_arrives(read: Read, main: str, sms: str) -> None:
    """Every key arrives, and the campaign of [api.inbound], also where nothing listens."""
    text = (
        '[inbound]\nopt_out = ["No más"]\nopt_in = []\nopt_out_for = "campaign"\nopt_out_reply = "Listo"\n'
        'opt_in_reply = "Hola\\notra vez"\n[api.inbound]\ncampaign = "Ventas->"\n'
    )
    settings = read(text + main, a=sms)

    assert settings.api is None
    assert settings.inbound == InboundRules(
        campaign="Ventas->", opt_out=("No más",), opt_in=(), scope=Scope.CAMPAIGN, opt_out_reply="Listo",
        opt_in_reply="Hola\notra vez",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("opt_out = ['!!']", "inbound.opt_out[0]: expected a word with letters or digits (got '!!')"),
        ("opt_out = 'STOP'", "inbound.opt_out: expected an array (got 'STOP')"),
        (
            "opt_out = ['STOP', 'alta']",
            "inbound.opt_in[1]: expected a word that does not stand in opt_out (got 'ALTA')",
        ),
        ("opt_out_for = 'me'", "inbound.opt_out_for: expected one of all, campaign (got 'me')"),
        ("optout = []", "inbound.optout: unknown key: did you mean opt_out? (got an array)"),
    ],
)
def test_wrong_keys(problems: Problems, main: str, line: str, told: str) -> None:
    """A wrong key is one line that says what was expected."""
    assert [f"dialerd.toml: {told}"] == problems(f"[inbound]\n{line}\n{main}")
