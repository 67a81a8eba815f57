"""Campaigns paused by an operator."""

from datetime import timedelta

import pytest

from dialerd.store import Store
from dialerd.store.columns import Instant
from dialerd.store.pause import pause_campaign, paused, resume_campaign
from tests.store.conftest import select
from tests.store.filled import NOW


@pytest.mark.parametrize("name", ["Ventas->", "x", "", "ñandú 😀", 'it\'s "quoted"'])
def test_a_pause_holds_until_it_is_lifted(store: Store, name: str) -> None:
    """A campaign, however it is called, is paused with its reason until somebody resumes it."""
    assert store.transact_here(pause_campaign, name, reason="complaints", now=NOW)
    assert {name: "complaints"} == store.transact_here(paused)
    assert [(NOW,)] == select(store, "SELECT since FROM pause", since=Instant)

    assert store.transact_here(resume_campaign, name)
    assert {} == store.transact_here(paused)


def test_a_pause_is_told_once(store: Store) -> None:
    """Pausing what is paused, and resuming what is not, changes nothing and says so; the first reason stays."""
    assert not store.transact_here(resume_campaign, "Ventas")
    assert store.transact_here(pause_campaign, "Ventas", reason=None, now=NOW)
    assert not store.transact_here(pause_campaign, "Ventas", reason="other", now=NOW + timedelta(days=1))

    assert {"Ventas": None} == store.transact_here(paused)


def test_campaigns_are_paused_one_by_one(store: Store) -> None:
    """Resuming one leaves the others paused."""
    for name in ("a", "b"):
        store.transact_here(pause_campaign, name, reason=None, now=NOW)
    store.transact_here(resume_campaign, "a")

    assert {"b": None} == store.transact_here(paused)
