"""/v1/docs: the API for people, made of what /v1/openapi.json tells programs; it needs nothing from outside."""

import json
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

__all__ = ["docs"]

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "code,pre{background:#f4f4f4;border-radius:4px;padding:.1rem .3rem}pre{padding:.8rem;overflow:auto}"
    "h2{margin-top:2.5rem;border-bottom:1px solid #ddd}b.m{display:inline-block;min-width:4.5rem}"
    "table{border-collapse:collapse}td,th{border:1px solid #ddd;padding:.3rem .6rem;text-align:left}"
    "@media(prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}code,pre{background:#2b2b2b}}"
)


async def docs(request: Request) -> Response:
    """Return the page."""
    description = request.app.openapi()
    parts = [f"<h1>{escape(description['info']['title'])} API {escape(description['info']['version'])}</h1>"]
    parts += [f"<p>{_text(paragraph)}</p>" for paragraph in description["info"]["description"].strip().split("\n\n")]
    parts.append('<p>For programs: <a href="openapi.json">openapi.json</a>.</p>')
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(path, method, operation, description["components"]["schemas"]))
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>dialerd API</title><style>{STYLE}</style>"
    return HTMLResponse(page + "".join(parts) + "</html>")


def _operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    parts = [f"<h2><b class=m>{method.upper()}</b> <code>/v1{escape(path)}</code></h2>"]
    parts.append(f"<p>{_text(operation.get('description', operation['summary']))}</p>")
    if parameters := operation.get("parameters"):
        rows = [
            f"<tr><td><code>{escape(one['name'])}</code><td>{escape(one['in'])}"
            f"<td>{'yes' if one.get('required') else ''}<td>{_text(one.get('description', ''))}"
            for one in parameters
        ]
        parts.append(f"<table><tr><th>parameter<th>in<th>needed<th>{''.join(rows)}</table>")
    bodies = operation.get("requestBody", {}).get("content", {})
    if "application/json" in bodies:
        parts.append(f"<p>Body:</p>{_members(bodies['application/json']['schema'], schemas)}")
    elif bodies:
        kinds = " or ".join(f"<code>{escape(kind)}</code>" for kind in bodies)
        parts.append(f"<p>Body: {kinds}. {_text(operation['requestBody'].get('description', ''))}</p>")
        parts += [f"<pre>{escape(body['example'])}</pre>" for body in bodies.values() if "example" in body]
    answers = [
        f"<tr><td>{escape(status)}<td>{_text(answer['description'])}"
        for status, answer in operation["responses"].items()
    ]
    parts.append(f"<table><tr><th>status<th>{''.join(answers)}</table>")
    return "".join(parts)


def _members(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    known = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
    rows = [
        f"<tr><td><code>{escape(name)}</code><td>{'yes' if name in known.get('required', ()) else ''}"
        f"<td>{_text(member.get('description', ''))}"
        f"<td>{'<br>'.join(f'<code>{escape(json.dumps(one, ensure_ascii=False))}</code>' for one in _examples(member))}"
        for name, member in known.get("properties", {}).items()
    ]
    return f"<table><tr><th>member<th>needed<th><th>for example{''.join(rows)}</table>"


def _examples(member: dict[str, Any]) -> list[Any]:
    found: list[Any] = member.get("examples", [])
    return found


def _text(markdown: str) -> str:
    """Return Markdown's `code` as HTML, and the rest as it stands."""
    pieces = escape(markdown).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
