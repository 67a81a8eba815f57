"""The line: who waits for one of a few things."""

import asyncio

import pytest

from dialerd.drivers.line import Line


async def test_first_come_first_served() -> None:
    """What comes goes to who has waited longest; nobody takes it when nobody waits."""
    line: Line[str] = Line(60, give_back=lambda _: None)
    assert not line.serve("nobody's")

    waiting = [asyncio.create_task(line.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert [line.serve(thing) for thing in ("a", "b", "c", "d")] == [True, True, True, False]
    assert await asyncio.gather(*waiting) == ["a", "b", "c"]


async def test_patience() -> None:
    """Who has waited too long is sent away, and what comes then goes to the next."""
    line: Line[str] = Line(0.05, give_back=lambda _: None)
    with pytest.raises(TimeoutError):
        await line.wait()
    assert not line.serve("late")

    late = asyncio.create_task(line.wait())
    await asyncio.sleep(0)
    assert line.serve("in time")
    assert await late == "in time"


async def test_cancelled_in_the_moment() -> None:
    """What came to somebody who was cancelled before he could take it is given back, not lost."""
    back: list[str] = []
    line: Line[str] = Line(60, give_back=back.append)
    quick, slow = (asyncio.create_task(line.wait()) for _ in range(2))
    await asyncio.sleep(0)
    line.serve("thing")
    quick.cancel()
    slow.cancel()
    await asyncio.wait({quick, slow})
    assert back == ["thing"]
    assert not line.serve("more")


async def test_end() -> None:
    """Everybody who waits is told why nothing comes any more."""
    line: Line[str] = Line(60, give_back=lambda _: None)
    waiting = [asyncio.create_task(line.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    line.end(ValueError("closed"))
    assert [str(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == ["closed", "closed"]
