"""How `tokenrelay status` looks in a terminal."""

from __future__ import annotations

from typing import Any

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenrelay.cli.output import duration, short_time

# The bar's full length where it is not known when the token was issued, or the login made.
USUAL_TOKEN_SECONDS, USUAL_LOGIN_SECONDS = 1800, 7 * 86_400
LITTLE_LEFT = 0.1
STYLES = {"ok": "green", "retrying": "yellow", "no sender": "yellow"}


def render(status: dict[str, Any], now: float) -> RenderableType:
    """The status as `status --json` prints it, at Unix time ``now``."""
    accounts = status["accounts"]
    parts: list[RenderableType] = [_headline(status["sender"], now)]
    if status["sender"] is not None and status["sender"]["config_error"] is not None:
        parts.append(_refusal(status["sender"], now))
    parts += [Text(), _accounts_table(accounts, now)]
    if any(account["receivers"] for account in accounts):
        parts += [Text(), _receivers_table(accounts, now)]
    parts += [
        # On a line of its own, so that a narrow terminal does not break the command.
        Text(f"\n{account['login_warning']}".replace(": tokenrelay", ":\n  tokenrelay"), "yellow")
        for account in accounts
        if account["login_warning"]
    ]
    for account in accounts:
        if account["last_error"]:
            parts.append(Text(f"\n{_with_name(account)}", style="red"))
    return Group(*parts)


def _with_name(account: dict[str, Any]) -> str:
    name, error = account["name"], str(account["last_error"])
    return error if error.startswith(f"{name}: ") else f"{name}: {error}"


def _headline(sender: dict[str, Any] | None, now: float) -> Text:
    if sender is None:
        return Text("No sender runs. Start it: tokenrelay run", style="yellow")
    running = duration(now - sender["started_at"])
    return Text(f"The sender runs: process {sender['pid']}, for {running}", style="green")


def _refusal(sender: dict[str, Any], now: float) -> Text:
    since = duration(now - sender["configured_at"])
    return Text(
        f"\nThe changed configuration was refused; the one read {since} ago stays in force.\n"
        f"{sender['config_error']}\nMend it, then:\n  kill -HUP {sender['pid']}",
        style="red",
    )


def _accounts_table(accounts: list[dict[str, Any]], now: float) -> Table:
    table = _table("account", "state", "token", "", "login", "", "refreshed", "next")
    for account in accounts:
        phase, token = account["phase"], account["token"] or {}
        table.add_row(
            account["name"],
            Text(phase.replace("_", " "), style=STYLES.get(phase, "red")),
            *_left(
                token.get("issued_at"),
                token.get("expires_at"),
                USUAL_TOKEN_SECONDS,
                now,
                gone="expired",
            ),
            *_left(
                account["granted_at"],
                account["grant_expires_at"],
                USUAL_LOGIN_SECONDS,
                now,
                gone="over",
            ),
            _ago(account["last_refresh_at"], now),
            _in(account["next_refresh_at"], now),
        )
    return table


def _left(
    begin: float | None, end: float | None, usual: float, now: float, *, gone: str
) -> tuple[RenderableType, RenderableType]:
    """A bar of the life that is left, and the time in words."""
    if end is None:
        return "", ""
    life, left = max(1.0, end - begin if begin else usual), end - now
    if left <= 0:
        return "", Text(f"{gone} {duration(-left)} ago", style="red")
    style = "red" if left < LITTLE_LEFT * life else "green"
    # Blocks: a bar of colours alone is lost in a copy, or without them.
    return Bar(life, 0, left, width=10, color=style, bgcolor="bright_black"), duration(left)


def _in(moment: float | None, now: float) -> str:
    if moment is None:
        return ""
    return duration(moment - now) if moment > now else "now"


def _ago(moment: float | None, now: float) -> str:
    return f"{duration(now - moment)} ago" if moment else ""


def _receivers_table(accounts: list[dict[str, Any]], now: float) -> Table:
    table = _table("account", "program", "process", "generation", "fed", "latency", "")
    for account in accounts:
        for receiver in account["receivers"]:
            table.add_row(account["name"], *_receiver_row(receiver, now))
    return table


def _receiver_row(receiver: dict[str, Any], now: float) -> tuple[RenderableType, ...]:
    fed, latency = receiver["delivered_at"], receiver["latency"]
    trouble = receiver["error"] or ("" if receiver["connected"] else "not connected")
    return (
        receiver["program"] or receiver["path"],
        str(receiver["pid"] or ""),
        str(receiver["generation"] or ""),
        _ago(fed, now) or "never",
        short_time(latency) if latency is not None else "",
        Text(trouble, style="red"),
    )


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading)
    return table
