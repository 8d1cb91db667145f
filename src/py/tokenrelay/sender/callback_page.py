"""The page a browser shows at the end of a login: self-contained, no script, nothing kept."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from http import HTTPStatus

STYLE = """
body { font: 17px/1.5 system-ui, sans-serif; margin: 0; min-height: 100vh; display: grid;
       place-items: center; background: light-dark(#f3f4f6, #17181a); color-scheme: light dark;
       color: light-dark(#202124, #e8eaed) }
main { box-sizing: border-box; width: min(30rem, 92vw); padding: 2.2rem 2.4rem; border-radius: 14px;
       background: light-dark(#fff, #232527); box-shadow: 0 2px 18px #0002; text-align: center }
b { display: block; width: 3.2rem; margin: 0 auto; border-radius: 50%; color: #fff;
    font-size: 1.7rem; line-height: 3.2rem }
h1 { font-size: 1.5rem; margin: .9rem 0 .4rem }
p { margin: .4rem 0; overflow-wrap: anywhere; text-wrap: balance }
small { color: light-dark(#5f6368, #9aa0a6) }
.good b { background: #188038 } .bad b { background: #c5221f }
"""
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
    """One answer to a browser: what happened in ``text``, what to do now in ``hint``.

    ``final``: the login is decided, one way or the other.
    """

    status: HTTPStatus
    title: str
    text: str
    hint: str = ""
    final: bool = False


def render(page: Page) -> bytes:
    """The whole HTTP response."""
    kind = "good" if page.status is HTTPStatus.OK else "bad"
    mark = "✓" if kind == "good" else "✗"
    body = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(page.title)}</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>"
        f"<main class={kind}><b>{mark}</b><h1>{escape(page.title)}</h1><p>{escape(page.text)}</p>"
        f"<p><small>{escape(page.hint)}</small></p></main></html>"
    ).encode()
    headers = {**HEADERS, "Content-Length": str(len(body))}
    lines = [f"HTTP/1.1 {page.status.value} {page.status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
