"""Reload: the configuration is read anew, and what runs goes on with it, or else with the old one."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from dialerd import log
from dialerd.dialer import Dialer
from dialerd.model.errors import ConfigError, Refused
from dialerd.notify import Notifier
from dialerd.parts import Parts, campaigns_of
from dialerd.settings import Settings
from dialerd.tasks import kept_up

__all__ = ["apply", "reloaded"]

logger = log.get(__name__)


def reloaded(load: Callable[[], Settings], apply: Callable[[Settings], None], notifier: Notifier, doing: str) -> None:
    """Read the configuration anew and go on with it, or else with the old one; say what became of it.

    `doing` is what the process does either way, for `systemctl status`.
    """
    notifier.reloading()
    told = f"{doing}; the new configuration was refused"
    try:
        apply(load())
    except ConfigError as error:
        logger.error("reload_refused", problems=error.problems)
        told += f", problems: {len(error.problems)}"
    except Refused as error:
        logger.error("reload_refused", problems=[str(error)])
    except Exception as error:  # whatever is wrong with the new configuration, the old one is right
        logger.exception("reload_refused", problems=[f"a bug: {type(error).__name__}"])
    else:
        told = f"{doing}; the new configuration holds"
    notifier.ready(told)


def apply(parts: Parts, fresh: Settings, *, group: asyncio.TaskGroup) -> None:
    """Go on with a new configuration: providers that changed get a new dialer, the old one drains beside it."""
    old = parts.settings
    kept = [
        name
        for name, provider in old.providers.items()
        if fresh.providers.get(name) == provider and not _messages_changed(old, fresh, name)
    ]
    # Built before anything changes: what cannot be built leaves the old configuration whole.
    built = {name: parts.build_dialer(name, fresh) for name in fresh.providers if name not in kept}
    parts.settings = fresh
    parts.vitals.stall_s = fresh.daemon.stall_minutes * 60
    if fresh.daemon.log_level != old.daemon.log_level:
        log.set_level(fresh.daemon.log_level)
    daemon = replace(old.daemon, stall_minutes=fresh.daemon.stall_minutes, log_level=fresh.daemon.log_level)
    listening = [settings.api and settings.api.listen for settings in (old, fresh)]
    if (daemon, old.database, listening[0]) != (fresh.daemon, fresh.database, listening[1]):
        logger.warning(
            "reload_needs_restart", tables="[daemon], [database] and where [api] listens are read at the start only"
        )
    parts.inbox.settings = fresh
    parts.scheduler.campaigns = fresh.campaigns
    parts.janitor.campaigns = fresh.campaigns
    for name in parts.dialers.keys() - kept:
        group.create_task(_retire(parts, parts.dialers.pop(name), fresh.daemon.drain_s))
    for name, dialer in parts.dialers.items():
        dialer.campaigns = campaigns_of(name, fresh)
    for name, dialer in built.items():
        parts.dialers[name] = dialer
        group.create_task(kept_up(dialer.run))
        parts.listen(dialer, group)
    parts.spool.waiters = list(parts.dialers.values())
    parts.spool.wake()
    logger.info("reloaded", campaigns=len(fresh.campaigns), providers=len(fresh.providers))


def _messages_changed(old: Settings, fresh: Settings, provider: str) -> bool:
    """Tell whether that changed of the campaigns by which this provider's driver composes mails, numbers and texts."""
    before, after = (
        {
            name: (one.email, one.region, one.unicode, one.missing, one.zone)
            for name, one in campaigns_of(provider, settings).items()
        }
        for settings in (old, fresh)
    )
    return before != after


async def _retire(parts: Parts, dialer: Dialer, drain_s: float) -> None:
    parts.retiring.add(dialer)
    await dialer.drain(drain_s)
    await parts.hang_up(dialer)
    parts.spool.forget(f"claim for {dialer.name}")
    parts.retiring.discard(dialer)
