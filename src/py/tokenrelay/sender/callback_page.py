"""The page a browser shows at the end of a login: self-contained, no script, nothing kept."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from http import HTTPStatus

STYLE = (
    "body{font:18px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;"
    "place-items:center;background:Canvas;color:CanvasText;color-scheme:light dark}"
    "main{max-width:34rem;padding:2rem}h1{font-size:1.6rem;margin:0 0 .5rem}"
    ".good h1{color:#188038}.bad h1{color:#c5221f}p{margin:.5rem 0;overflow-wrap:anywhere}"
)
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'",
    # The address still holds the code, spent as it is.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a browser. ``final``: the login is decided, one way or the other."""

    status: HTTPStatus
    title: str
    text: str
    final: bool = False


def render(page: Page) -> bytes:
    """The whole HTTP response."""
    kind = "good" if page.status is HTTPStatus.OK else "bad"
    mark = "✓" if kind == "good" else "✗"
    body = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(page.title)}</title>"
        f"<style>{STYLE}</style><main class={kind}><h1>{mark} {escape(page.title)}</h1>"
        f"<p>{escape(page.text)}</p></main></html>"
    ).encode()
    headers = {**HEADERS, "Content-Length": str(len(body))}
    lines = [f"HTTP/1.1 {page.status.value} {page.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
