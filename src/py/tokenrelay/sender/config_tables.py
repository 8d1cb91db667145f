"""The tables of ``tokenrelay.toml`` as they are written, and the strict reading of one."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from tokenrelay.sender.tokens import HiddenFields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ClientAuth = Literal["basic", "post", "none"]
Value = TypeVar("Value")
Table = TypeVar("Table", bound=msgspec.Struct)


class SenderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[sender]``."""

    metrics: str | None = None
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class AccountTable(HiddenFields, msgspec.Struct, forbid_unknown_fields=True):
    """``[accounts.NAME]`` as written, laid over its preset."""

    provider: str = "generic"
    client_id: str | None = None
    client_id_file: str | None = None
    client_id_env: str | None = None
    client_secret: str | None = None
    client_secret_file: str | None = None
    client_secret_env: str | None = None
    token_url: str | None = None
    issuer: str | None = None
    authorize_url: str | None = None
    device_url: str | None = None
    revoke_url: str | None = None
    redirect_uri: str | None = None
    scopes: list[str] = []
    client_auth: ClientAuth | None = None
    pkce: bool = True
    token_file: str | None = None
    refresh_every: str | None = None
    rotation_grace: str = "10s"
    timeout: str = "8s"
    token_lifetime: str = "30m"  # noqa: S105
    login_lifetime: str | None = None
    sockets: list[str] = []
    include_refresh_token: bool = False
    allow_listener_uids: list[int] = []
    mirror: list[str] = []
    warn_before_login_ends: list[str] = msgspec.field(default_factory=lambda: ["24h", "2h"])
    warn_at: list[str] = []
    on_event: list[str] = []
    encrypt: str | None = None


class InvalidKeyError(Exception):
    """A wrong value at a key; becomes a ConfigurationError once file and line are known."""

    def __init__(self, cause: str, *keys: str) -> None:
        super().__init__(cause)
        self.keys = keys


def checked(check: Callable[[Any], Value], value: Any, *keys: str) -> Value:
    """What ``check`` makes of ``value``; its ValueError becomes an InvalidKeyError at ``keys``."""
    try:
        return check(value)
    except ValueError as error:
        raise InvalidKeyError(str(error), *keys) from error


def convert(table: Any, kind: type[Table], *place: str) -> Table:
    """``table`` as a ``kind``, or an InvalidKeyError below ``place``."""
    if not isinstance(table, dict):
        raise InvalidKeyError(f"expected a table: [{'.'.join(place)}]", *place)
    check_known(table, msgspec.structs.fields(kind), *place)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        cause, _, where = str(error).partition(" - at `$.")
        key = re.split(r"[\[.`]", where, maxsplit=1)[0]
        raise InvalidKeyError(_plain(cause), *place, *([key] if key else ())) from None


def check_known(table: Mapping[str, Any], known: Iterable[Any], *place: str) -> None:
    """InvalidKeyError for a key of ``table`` that is not ``known``."""
    names = [field if isinstance(field, str) else field.name for field in known]
    for key in table:
        if key not in names:
            near = get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(names)}"
            raise InvalidKeyError(f"unknown key{hint}", *place, key)


def _plain(cause: str) -> str:
    """msgspec's text in the words of a configuration file."""
    names = {" | null": "", "`": "", "str": "a text in quotes", "int": "a whole number",
             "bool": "true or false", "array": "a list in [ ]", "object": "a table",
             "Invalid enum value": "not one of the values allowed:"}  # fmt: skip
    return re.sub("|".join(map(re.escape, names)), lambda match: names[match[0]], cause).lower()
