"""`dialerd spool`: an operator's hand on messages that wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import click

from dialerd.cli.completion import campaign_names
from dialerd.cli.exporting import PAGE, Export, exporting
from dialerd.cli.frame import Frame, config_option, examples, json_option, pass_frame
from dialerd.cli.later import later
from dialerd.cli.output import JsonPages, Pages, TablePages, local, print_json, print_table, progress
from dialerd.model.errors import Refused
from dialerd.model.message import State

if TYPE_CHECKING:
    import asyncio

    from dialerd import operating
    from dialerd.settings import Settings
    from dialerd.store import Store, operate, staged, status, uploads
    from dialerd.store import spool as table
    from dialerd.store.operate import Selection, Verb
else:
    asyncio, operating = later("asyncio", "dialerd.operating")
    operate, table = later("dialerd.store.operate", "dialerd.store.spool")
    staged, status, uploads = later("dialerd.store.staged", "dialerd.store.status", "dialerd.store.uploads")

__all__ = ["spool"]

#: A refusal names so many of the ids that nothing could be done to.
NAMED = 5

STATES = click.Choice([state.value for state in State])


@click.group()
@examples(
    "dialerd spool list --state in_doubt",
    "dialerd spool bases",
    "dialerd spool release --base offers.csv",
    "dialerd spool export --base offers.csv > waiting.csv",
    "dialerd spool cancel 01935f1e-8c4b-7d0a-9e52-3f6a7b8c9d0e",
)
@config_option
def spool() -> None:
    """List, export, hold, release, cancel or resend messages that wait.

    Messages are chosen by id, --base, --campaign or --state; several of these narrow each other down. What is being
    sent at that moment is left alone.
    """


def selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Take ids, --base, --campaign and --state, given to the command as one `selection`, and --json."""

    def run(
        *args: Any,
        ids: tuple[str, ...],
        base: str | None,
        campaign: str | None,
        state: str | None,
        **kwargs: Any,
    ) -> Any:
        if not ids and (base, campaign, state) == (None, None, None):
            raise click.UsageError("say which messages: ids, --base, --campaign or --state")
        return command(*args, selection=_selection(ids, base, campaign, state), **kwargs)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    options: Callable[..., Any] = narrowing(json_option(pass_frame(run)))
    return click.argument("ids", metavar="[ID]...", nargs=-1)(options)


def _selection(ids: tuple[str, ...], base: str | None, campaign: str | None, state: str | None) -> Selection:
    """Return which messages are meant; none of these: all of them."""
    chosen = operate.Selection(ids=ids, base=base, campaign=campaign, state=State(state) if state else None)
    try:
        return chosen.checked() if ids else chosen
    except Refused as error:
        raise click.UsageError(str(error)) from error


def narrowing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Take --base, --campaign and --state."""
    for option in (
        click.option("--state", type=STATES, help="Only messages in this state."),
        click.option(
            "--campaign", metavar="NAME", shell_complete=campaign_names, help="Only messages of this campaign."
        ),
        click.option("--base", metavar="NAME", help="Only messages of this base."),
    ):
        command = option(command)
    return command


@spool.command("list")
@examples("dialerd spool list --campaign 'Ventas->' --state held --limit 10")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@narrowing
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="At most so many.")
@json_option
@pass_frame
async def list_(
    frame: Frame, ids: tuple[str, ...], base: str | None, campaign: str | None, state: str | None, limit: int,
    as_json: bool,
) -> None:  # fmt: skip
    """List messages that wait, oldest first. Times are the campaign's."""
    selection = _selection(ids, base, campaign, state)
    show: Pages = JsonPages() if as_json else TablePages(_cells(frame.settings), whole=("id", "state"))
    async with frame.open_store() as store:
        async for page in _pages(store, selection, limit):
            show.page(page)
    show.end()


def _cells(settings: Settings) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Return the columns of a list for people."""

    def due(one: dict[str, Any]) -> str | None:
        known = settings.campaigns.get(one["campaign"])
        return local(one["due_at"], known.zone if known else UTC)

    return {
        **{name: itemgetter(name) for name in ("id", "campaign", "destination", "state")},
        "priority": lambda one: str(one["priority"]),
        "due": due,
        **{name.replace("_", " "): itemgetter(name) for name in ("attempts", "base", "last_error")},
    }


async def _pages(store: Store, selection: Selection, limit: int | None = None) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield the messages of a selection that stand in the spool now, oldest first, page by page."""
    newest = await store.read(table.newest_seq)
    after: int | None = 0
    while after is not None and limit != 0:
        most = PAGE if limit is None else min(PAGE, limit)
        page, after = await store.read(operate.waiting, selection, after_seq=after, up_to_seq=newest, most=most)
        if page:
            yield page
        if limit is not None:
            limit -= len(page)


@spool.command(short_help="Write messages that wait as CSV or JSON lines.")
@examples(
    "dialerd spool export --base offers.csv --output waiting.csv",
    "dialerd spool export --state in_doubt --json | jq .provider",
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@narrowing
@exporting
@pass_frame
async def export(
    frame: Frame, ids: tuple[str, ...], base: str | None, campaign: str | None, state: str | None, export: Export
) -> None:
    """Write messages that wait to stdout or into a file, oldest first, as they are read.

    Without a choice all that is in the spool. CSV and JSON lines are as `dialerd repo export` writes them, which has
    what is sent or has ended. What is sent meanwhile may be missing.
    """
    selection = _selection(ids, base, campaign, state)
    async with frame.open_store() as store:
        coming = [await store.read(uploads.upload_of, id_) for id_ in await store.read(staged.unmoved)]
        await export.write(operate.COLUMNS, _pages(store, selection))
    for one in coming:
        if base in (None, one.base) and not ids:
            click.echo(f"dialerd: base {one.base} was on its way into the spool: not all of it is there", err=True)


@spool.command("bases", short_help="Count what waits by base and state.")
@examples("dialerd spool bases")
@json_option
@pass_frame
async def bases_(frame: Frame, as_json: bool) -> None:
    """List the bases that have messages waiting, the oldest first, with how many are in each state.

    `moving` are those of a loaded base on their way into the spool. What came without a base is counted below none.
    """
    async with frame.open_store() as store:
        counts = await store.read(status.waiting_bases)
    names = [*(state.value for state in State), "moving"]
    rows = [{"base": base, **{name: of_base.get(name, 0) for name in names}} for base, of_base in counts.items()]
    if as_json:
        print_json(rows)
    else:
        print_table(["base", *names], [list(row.values()) for row in rows])


@spool.command()
@examples("dialerd spool hold --base offers.csv")
@selecting
async def hold(frame: Frame, selection: Selection, as_json: bool) -> None:
    """Keep messages from being sent, until they are released."""
    await _operate(frame, operate.HOLD, selection, "held", as_json)


@spool.command()
@examples("dialerd spool release --base offers.csv")
@selecting
async def release(frame: Frame, selection: Selection, as_json: bool) -> None:
    """Let held messages go; what is due later waits for its time."""
    await _operate(frame, operate.RELEASE, selection, "released", as_json)


@spool.command(short_help="End messages without sending them.")
@examples("dialerd spool cancel --campaign 'Ventas->' --state deferred")
@selecting
async def cancel(frame: Frame, selection: Selection, as_json: bool) -> None:
    """End messages without sending them: they go to sms_repo as cancelled.

    By id or campaign, those still waiting in sms_scheduler for their time are cancelled too.
    """
    await _operate(frame, operate.CANCEL, selection, "cancelled", as_json)


@spool.command(short_help="Send messages again that are in doubt.")
@examples("dialerd spool resend --campaign 'Ventas->'")
@selecting
async def resend(frame: Frame, selection: Selection, as_json: bool) -> None:
    """Send messages again that are in doubt: those that did go, go twice."""
    await _operate(frame, operate.RESEND, selection, "queued again", as_json)


@spool.command()
@examples("dialerd spool settle --sent 01935f1e-8c4b-7d0a-9e52-3f6a7b8c9d0e")
@click.option("--sent", is_flag=True, help="They did go.")
@click.option("--failed", is_flag=True, help="They did not go, and shall not.")
@selecting
async def settle(frame: Frame, selection: Selection, sent: bool, failed: bool, as_json: bool) -> None:
    """Say what became of messages in doubt: they go to sms_repo."""
    if sent == failed:
        raise click.UsageError("say what became of them: --sent or --failed")
    verb, word = (operate.SETTLE_SENT, "sent") if sent else (operate.SETTLE_FAILED, "failed")
    await _operate(frame, verb, selection, f"settled as {word}", as_json)


@spool.command()
@examples("dialerd spool priority 10 --base offers.csv")
@click.argument("priority", metavar="N", type=click.IntRange(1, 9999))
@selecting
async def priority(frame: Frame, selection: Selection, priority: int, as_json: bool) -> None:
    """Give messages another priority: 1 goes first, 9999 last."""
    await _operate(frame, operate.set_priority(priority), selection, f"given priority {priority}", as_json)


async def _operate(frame: Frame, verb: Verb, selection: Selection, participle: str, as_json: bool) -> None:
    async with frame.open_store() as store:
        unfit = await _unfit(store, verb, selection.ids)
        done = operating.Done()
        try:
            with progress(participle) as show:
                await operating.carry_out(store, verb, selection, done, clock=lambda: datetime.now(UTC), show=show)
        except asyncio.CancelledError:
            click.echo(f"dialerd: interrupted; at least {done.touched:,} {participle} until then", err=True)
            raise
    if as_json:
        print_json({"touched": done.touched, "left_alone": dict(done.left)})
    elif done.touched or not selection.ids:
        left = ", ".join(f"{n:,} {state}" for state, n in done.left.items())
        click.echo(f"{done.touched:,} {participle}" + (f"; left alone: {left}" if left else ""))
        if not done.touched and not left and selection.base is not None:
            click.echo(f"dialerd: no such message of base {selection.base} waits; see `dialerd spool bases`", err=True)
    if unfit and done.touched:
        click.echo("\n".join(f"dialerd: {line}" for line in unfit), err=True)
    elif selection.ids and not done.touched:
        more = f" … and {len(unfit) - NAMED} more" if len(unfit) > NAMED else ""
        raise Refused("none " + participle + ": " + ("; ".join(unfit[:NAMED]) or "no message matches") + more)


async def _unfit(store: Store, verb: Verb, ids: tuple[str, ...]) -> list[str]:
    """Return a line for each id that the verb can do nothing to."""
    fit = {f"is in sms_spool as {state}" for state in verb.of} | (
        {"is in sms_scheduler"} if verb is operate.CANCEL else set()
    )
    places = await store.read(operate.whereabouts, ids) if ids else {}
    return [f"{id_} {place}" for id_, place in places.items() if place not in fit]
