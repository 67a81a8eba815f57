"""The OpenAPI description against the API itself, with requests made up from it."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.conftest import opener


@pytest.fixture
def served(sqlite_url: str, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """An API in a thread of its own: its port, and a key."""
    told: list[tuple[int, str]] = []
    running, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with opener(sqlite_url, tmp_path)() as site:
            told.append((site.port, await site.context.users.add_key("ana", "tests")))
            running.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert running.wait(30)
    yield told[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    loop.close()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as described", "not so"])
def test_every_answer_is_described(served: tuple[int, str], mode: GenerationMode) -> None:
    """Whatever is asked, as described or not, nothing is a 5xx, and every answer is one that the description names."""
    port, key = served
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/v1/openapi.json")
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(
            max_examples=12,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(
                base_url=f"http://127.0.0.1:{port}/v1", headers={"Authorization": f"Bearer {key}"}, checks=checks
            )

        # Of a call without parameters there is nothing that is not as described.
        with contextlib.suppress(Unsatisfiable):
            ask()
    assert asked > 50
