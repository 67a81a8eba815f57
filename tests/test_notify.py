"""What systemd is told, on a socket such as it listens on."""

import os
from pathlib import Path

import pytest

from dialerd.notify import Notifier
from tests.systemd import ServiceManager


@pytest.mark.parametrize("is_abstract", [False, True])
def test_it_says_how_it_goes(tmp_path: Path, is_abstract: bool) -> None:
    """Each state is one datagram of assignments, at a path as well as at an abstract name."""
    with ServiceManager(None if is_abstract else tmp_path, watchdog_s=30) as manager:
        notifier = Notifier(manager.environment)

        notifier.ready("sending")
        assert {"READY": "1", "STATUS": "sending"} == manager.next()
        notifier.reloading()
        told = manager.next()
        assert ("1", {"RELOADING", "MONOTONIC_USEC"}) == (told["RELOADING"], told.keys())
        assert 0 < int(told["MONOTONIC_USEC"])
        notifier.stopping("stopping: 3 under way", 45)
        assert {
            "STOPPING": "1", "EXTEND_TIMEOUT_USEC": "45000000", "STATUS": "stopping: 3 under way",
        } == manager.next()  # fmt: skip
        notifier.alive("sending")
        assert {"WATCHDOG": "1", "STATUS": "sending"} == manager.next()
        notifier.status("no progress:\nREADY=1")
        assert {"STATUS": "no progress: READY=1"} == manager.next()
        assert 30 == notifier.watchdog_s


def test_without_a_watchdog_no_sign_of_life_is_sent(tmp_path: Path) -> None:
    """Where systemd watches nobody, or another process, it is told how it goes and nothing else."""
    with ServiceManager(tmp_path) as manager:
        for more in ({}, {"WATCHDOG_USEC": "junk"}, {"WATCHDOG_USEC": "0"},
                     {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid() + 1)}):  # fmt: skip
            notifier = Notifier(manager.environment | more)
            notifier.alive("sending")

            assert notifier.watchdog_s is None
            assert {"STATUS": "sending"} == manager.next()
    ours = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}
    assert 1.5 == Notifier(ours).watchdog_s


@pytest.mark.parametrize("named", [None, "", "vsock:2:1234", "/nowhere/notify", "@nobody-listens-here"])
def test_nobody_listens(named: str | None) -> None:
    """Without a service manager, or with one that is gone, nothing happens."""
    notifier = Notifier({} if named is None else {"NOTIFY_SOCKET": named, "WATCHDOG_USEC": "1000000"})

    notifier.ready("sending")
    notifier.alive("sending")

    assert (named or "x")[0] in "/@" or notifier.watchdog_s is None
