"""``tokenrelay send``."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenrelay.cli.options import (
    AccountOption,
    ConfigOption,
    JsonOption,
    choose_account,
    read_config_if_any,
)
from tokenrelay.cli.output import note, write, write_json
from tokenrelay.paths import runtime_directories
from tokenrelay.sender.errors import ConfigurationError, NobodyReceived, SenderError

if TYPE_CHECKING:
    from tokenrelay.sender.tokens import TokenSet

MAXIMUM_INPUT_BYTES = 65_536
ANSWER_SECONDS = 5.0
LIFETIME_SECONDS = 30 * 60
# Below every sender's serial, so that a receiver that holds a sender's token answers `stale`.
LOWEST_SERIAL = 1


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one receiver made of the token."""

    path: str
    generation: int | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "generation": self.generation, "error": self.error}


def send(
    context: typer.Context,
    token: Annotated[
        str, typer.Argument(metavar="TOKEN", help="A test token; '-' reads standard input.")
    ],
    *,
    account: AccountOption = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="SOCKET", help="This receiver only.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even over the token of a running sender.")
    ] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Send a test token to one receiver, or to all of an account.

    TOKEN is visible to others in the list of processes: send a real token through '-', bare or as
    {"access_token": "…", "expires_at": UNIX_SECONDS}. Without expires_at it is valid for 30
    minutes. A receiver that holds a sender's token keeps it, unless --force is given.

    \b
    Example:
      tokenrelay send test_token_abc123 --to /tmp/my.sock
      pass show my-token | tokenrelay send - --account schwab
    """
    content = _read_input() if token == "-" else token  # noqa: S105
    frames = _encode(_parse(content), force=force)
    allowed: tuple[int, ...] = ()
    if to is not None:
        paths, where = [to.absolute()], f"at {to}"
        listen = f"--path {shlex.quote(str(to))}"
    else:
        name = choose_account(context, config, account)
        paths, allowed = _find(context, config, name)
        where, listen = f"under the account {name}", name
    results = [deliver(path, frames, allowed) for path in paths]
    found = [result for result in results if result is not None]
    _report(found, f"{where}. To have a receiver: tokenrelay listen {listen}", as_json=as_json)


def _parse(content: str) -> TokenSet:
    from tokenrelay.sender.foreign_files import parse_login
    from tokenrelay.sender.tokens import TokenSet

    expires_at = int(time.time()) + LIFETIME_SECONDS
    if content.startswith("{"):
        return parse_login(content.encode(), "the token", default_expires_at=expires_at)
    return TokenSet(content, expires_at)


def _encode(token: TokenSet, *, force: bool) -> list[bytes]:
    """The frames to try in turn: one that gives way to a sender's token, then one that does not.

    The second is for a receiver that holds an earlier test token of the same serial.
    """
    from tokenrelay.sender import wire

    try:
        last = wire.encode(token.replace(serial=0))
        return [last] if force else [wire.encode(token.replace(serial=LOWEST_SERIAL)), last]
    except ValueError as error:
        raise SenderError(f"the token cannot be sent: {error}") from None


def _read_input() -> str:
    content = sys.stdin.buffer.read(MAXIMUM_INPUT_BYTES + 1)
    if len(content) > MAXIMUM_INPUT_BYTES:
        raise SenderError(f"standard input: over {MAXIMUM_INPUT_BYTES} bytes: not a token")
    try:
        return content.decode("ascii").strip()
    except UnicodeDecodeError:
        raise SenderError("standard input: a token is ASCII, without blanks") from None


def _find(
    context: typer.Context, option: Path | None, account: str
) -> tuple[list[Path], tuple[int, ...]]:
    """Every socket of the account, and whose besides ours is trusted."""
    from tokenrelay.sender.socket_names import receivers_in

    found = [
        path for directory in runtime_directories() for path in receivers_in(directory / account)
    ]
    try:
        config = read_config_if_any(context, option)
    except ConfigurationError as error:
        if option or context.obj:
            raise
        note(f"{error}\nWithout it, all that listens under the account's name is fed.")
        config = None
    configured = config.accounts.get(account) if config else None
    if configured is None:
        return found, ()
    return [*found, *configured.sockets], configured.allow_listener_uids


def deliver(path: Path, frames: list[bytes], allowed: tuple[int, ...]) -> Delivery | None:
    """Send to one receiver; None where a socket is left of one that is gone."""
    from tokenrelay.sender import peers, wire

    try:
        connection, _, _ = peers.connect(path, allowed)
        with connection:
            connection.settimeout(ANSWER_SECONDS)
            stream = connection.makefile("rb")
            for frame in frames:
                connection.sendall(frame)
                reply = wire.parse_reply(stream.readline(wire.MAXIMUM_REPLY_BYTES))
                if isinstance(reply, wire.Accepted):
                    return Delivery(str(path), generation=reply.generation)
                if not (isinstance(reply, wire.Refused) and reply.code == "conflict"):
                    break
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except TimeoutError:
        return Delivery(str(path), error=f"no answer within {ANSWER_SECONDS:.0f} s")
    except OSError as error:
        return Delivery(str(path), error=error.strerror or str(error))
    except (ValueError, SenderError) as error:
        return Delivery(str(path), error=str(error).removeprefix(f"{path} "))
    return Delivery(str(path), error=_explain(reply))


def _explain(reply: Any) -> str:
    code, detail = getattr(reply, "code", "unexpected"), getattr(reply, "detail", "")
    if code in ("stale", "conflict"):
        return "it holds a sender's token; to replace that until the next refresh: --force"
    return f"refused as {code}: {detail}" if detail else f"refused as {code}"


def _report(results: list[Delivery], nobody: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"receivers": [result.as_json() for result in results]})
    for result in results:
        if result.error is not None:
            note(f"{result.path}: {result.error}")
        elif not as_json:
            write(f"{result.path}: received, generation {result.generation}")
    if not results:
        raise NobodyReceived(f"nobody listens {nobody}")
    if all(result.error for result in results):
        raise NobodyReceived("nobody received the token")
