"""``tokenrelay.toml``: read strictly, checked wholly, errors with file, line and key."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import msgspec

from tokenrelay.paths import Environment, check_account, state_directory
from tokenrelay.sender import config_values as values
from tokenrelay.sender.errors import ConfigurationError
from tokenrelay.sender.presets import PRESETS
from tokenrelay.sender.sealing import check_source
from tokenrelay.sender.tokens import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

MAXIMUM_CONFIG_BYTES = 1 << 20
ClientAuth = Literal["basic", "post", "none"]
Value = TypeVar("Value")
Table = TypeVar("Table", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Account:
    """One login at one provider. Durations are seconds, paths absolute."""

    name: str
    provider: str
    client_id: str
    client_secret: Secret | None
    token_url: str | None
    issuer: str | None
    authorize_url: str | None
    device_url: str | None
    revoke_url: str | None
    redirect_uri: str | None
    scopes: tuple[str, ...]
    client_auth: ClientAuth
    pkce: bool
    token_file: Path
    refresh_every: float | None
    rotation_grace: float
    timeout: float
    token_lifetime: float
    login_lifetime: float | None
    sockets: tuple[Path, ...]
    include_refresh_token: bool
    allow_listener_uids: tuple[int, ...]
    mirror: tuple[Path, ...]
    warn_before_login_ends: tuple[float, ...]
    warn_at: tuple[str, ...]
    on_event: tuple[str, ...]
    encrypt: str | None = None


class SenderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[sender]``."""

    metrics: str | None = None
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file, checked."""

    accounts: dict[str, Account]
    sender: SenderSettings
    path: Path

    def select(self, name: str | None = None) -> Account:
        """The named account; without a name the only one, else ``default``."""
        if name is None:
            name = next(iter(self.accounts)) if len(self.accounts) == 1 else "default"
        if name not in self.accounts:
            known = ", ".join(sorted(self.accounts))
            raise ConfigurationError(f"{self.path}: no account {name!r}; there is: {known}")
        return self.accounts[name]


class _AccountTable(msgspec.Struct, forbid_unknown_fields=True):
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


class _InvalidKeyError(Exception):
    """A wrong value at a key; becomes a ConfigurationError once file and line are known."""

    def __init__(self, cause: str, *keys: str) -> None:
        super().__init__(cause)
        self.keys = keys


def load_config(path: Path, env: Environment | None = None) -> Config:
    """The configuration at ``path``. ConfigurationError for whatever is wrong with it."""
    env = env or Environment.current()
    text = _read_text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"at line (\d+)", str(error))
        line = where[1] if where else len(text.splitlines())
        raise ConfigurationError(f"{path}:{line}: not valid TOML: {error}") from None
    try:
        return _build(document, path, env)
    except _InvalidKeyError as problem:
        line = find_line(text, problem.keys)
        place = f"{path}:{line}" if line else str(path)
        raise ConfigurationError(f"{place}: {'.'.join(problem.keys)}: {problem}") from None


def find_line(text: str, keys: tuple[str, ...]) -> int | None:
    """The line, from 1, where ``keys`` is written, or the table that lacks it.

    tomllib keeps no positions but parses prefixes: the shortest that holds the key ends with it.
    """
    lines = text.splitlines(keepends=True)
    start = 1
    for end in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        if _holds(document, keys):
            return start
        start = end + 1
    return find_line(text, keys[:-1]) if len(keys) > 1 else None


def _holds(document: Any, keys: Iterable[str]) -> bool:
    for key in keys:
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            content = file.read(MAXIMUM_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; write one: tokenrelay init") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAXIMUM_CONFIG_BYTES:
        raise ConfigurationError(f"{path}: over {MAXIMUM_CONFIG_BYTES} bytes: not a configuration")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 at byte {error.start}") from None


def _check_owner(path: Path, status: os.stat_result) -> None:
    # Who can write the file chooses where tokens go. Root can do that anyway.
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"{path}: belongs to user {status.st_uid}, who could redirect your tokens; "
            f"make it yours: chown {os.geteuid()} {path}"
        )
    if status.st_mode & 0o022:
        mode = values.describe_mode(status)
        raise ConfigurationError(f"{path}: others may write it (mode {mode}): chmod go-w {path}")


def _build(document: dict[str, Any], path: Path, env: Environment) -> Config:
    _check_known(document, ("accounts", "sender"))
    tables = document.get("accounts")
    if not isinstance(tables, dict) or not tables:
        raise _InvalidKeyError(
            "none: write a table [accounts.NAME], or: tokenrelay init", "accounts"
        )
    accounts = {name: _build_account(name, table, env) for name, table in tables.items()}
    _check_distinct_files(accounts.values())
    _check_mirrors(accounts.values())
    sender = _convert(document.get("sender", {}), SenderSettings, "sender")
    if sender.metrics is not None:
        _checked(values.parse_address, sender.metrics, "sender", "metrics")
    return Config(accounts, sender, path)


def _build_account(name: str, table: Any, env: Environment) -> Account:
    place = ("accounts", name)
    _checked(check_account, name, *place)
    if not isinstance(table, dict):
        raise _InvalidKeyError("expected a table: [accounts.NAME]", *place)
    provider = table.get("provider", "generic")
    preset = PRESETS.get(provider) if isinstance(provider, str) else {}
    if preset is None:
        raise _InvalidKeyError(
            f"unknown; there is: {', '.join(sorted(PRESETS))}", *place, "provider"
        )
    raw = _convert({**preset, **table}, _AccountTable, *place)
    return _Reader(name, raw, env).account()


class _Reader:
    """Turns one checked table into an `Account`."""

    def __init__(self, name: str, raw: _AccountTable, env: Environment) -> None:
        self._name, self._raw, self._env = name, raw, env

    def account(self) -> Account:
        raw = self._raw
        client_id, secret = self._credential("client_id"), self._credential("client_secret")
        auth = raw.client_auth or ("basic" if secret else "none")
        if client_id is None:
            self._fail("client_id", "missing: the name the provider gave your application")
        if auth != "none" and secret is None:
            self._fail("client_secret", f'missing: client_auth "{auth}" needs it; '
                       "give client_secret, client_secret_file or client_secret_env")  # fmt: skip
        if raw.token_url is None and raw.issuer is None:
            self._fail("token_url", "missing: give it, or issuer for discovery")
        home = state_directory(self._env) / f"{self._name}.json"
        return Account(
            name=self._name,
            provider=raw.provider,
            client_id=client_id,
            client_secret=Secret(secret) if secret and auth != "none" else None,
            token_url=self._each("token_url", values.check_endpoint),
            issuer=self._each("issuer", values.check_endpoint),
            authorize_url=self._each("authorize_url", values.check_endpoint),
            device_url=self._each("device_url", values.check_endpoint),
            revoke_url=self._each("revoke_url", values.check_endpoint),
            redirect_uri=self._each("redirect_uri", values.check_endpoint),
            scopes=tuple(raw.scopes),
            client_auth=auth,
            pkce=raw.pkce,
            token_file=self._each("token_file", self._path) or home,
            refresh_every=self._each("refresh_every", values.parse_positive_duration),
            rotation_grace=self._one("rotation_grace", values.parse_duration),
            timeout=self._one("timeout", values.parse_positive_duration),
            token_lifetime=self._one("token_lifetime", values.parse_positive_duration),
            login_lifetime=self._each("login_lifetime", values.parse_positive_duration),
            sockets=self._all("sockets", self._socket),
            include_refresh_token=raw.include_refresh_token,
            allow_listener_uids=self._all("allow_listener_uids", _check_user_id),
            mirror=self._all("mirror", self._path),
            warn_before_login_ends=self._warnings(),
            warn_at=self._all("warn_at", _check_weekly),
            on_event=tuple(raw.on_event),
            encrypt=self._each("encrypt", check_source),
        )

    def _fail(self, key: str, cause: str) -> NoReturn:
        raise _InvalidKeyError(cause, "accounts", self._name, key)

    def _one(self, key: str, check: Callable[[Any], Value]) -> Value:
        return _checked(check, getattr(self._raw, key), "accounts", self._name, key)

    def _each(self, key: str, check: Callable[[Any], Value]) -> Value | None:
        return None if getattr(self._raw, key) is None else self._one(key, check)

    def _all(self, key: str, check: Callable[[Any], Value]) -> tuple[Value, ...]:
        place = ("accounts", self._name, key)
        return tuple(_checked(check, item, *place) for item in getattr(self._raw, key))

    def _path(self, text: str) -> Path:
        return values.absolute_path(text, self._env)

    def _socket(self, text: str) -> Path:
        return values.socket_path(text, self._env)

    def _warnings(self) -> tuple[float, ...]:
        spans = self._all("warn_before_login_ends", values.parse_positive_duration)
        return tuple(sorted(set(spans), reverse=True))

    def _credential(self, key: str) -> str | None:
        """``key``, the text of ``key_file`` or the variable ``key_env``: at most one of them."""
        given = [k for k in (key, f"{key}_file", f"{key}_env") if getattr(self._raw, k) is not None]
        if not given:
            return None
        if len(given) > 1:
            self._fail(given[1], f"{given[0]} is given too: keep one of them")
        source = given[0]
        value = self._one(source, self._source(source.removeprefix(key)))
        if not value.strip() or not value.isprintable():
            self._fail(source, "empty, or holds a control character")
        return value

    def _source(self, suffix: str) -> Callable[[str], str]:
        if suffix == "_file":
            return lambda text: values.read_secret(self._path(text))
        if suffix == "_env":
            return self._variable
        return str

    def _variable(self, name: str) -> str:
        value = self._env.variables.get(name)
        if value is None:
            raise ValueError(f"the environment variable {name} is not set")
        return value


def _check_user_id(uid: int) -> int:
    # 65534 is what the kernel shows for users it cannot map, user_namespaces(7).
    if not 0 <= uid < 2**32 - 1 or uid == 65534:
        raise ValueError(f"{uid} is no user id that can be trusted")
    return uid


def _check_weekly(text: str) -> str:
    values.parse_weekly(text)
    return text


def _check_distinct_files(accounts: Iterable[Account]) -> None:
    owners: dict[Path, str] = {}
    for account in accounts:
        other = owners.setdefault(account.token_file, account.name)
        if other != account.name:
            raise _InvalidKeyError(f"account {other} has the same file; each login needs its own",
                           "accounts", account.name, "token_file")  # fmt: skip


def _check_mirrors(accounts: Iterable[Account]) -> None:
    token_files = {account.token_file: account.name for account in accounts}
    taken = dict(token_files)
    for account in accounts:
        for path in account.mirror:
            place = ("accounts", account.name, "mirror")
            if any(path.name.startswith(f"{file.name}.") and path.parent == file.parent
                   for file in token_files):  # fmt: skip
                raise _InvalidKeyError(f"{path}: kept for what belongs to a token_file", *place)
            if path in taken:
                raise _InvalidKeyError(
                    f"{path}: would overwrite a file of account {taken[path]}", *place
                )
            taken[path] = account.name


def _checked(check: Callable[[Any], Value], value: Any, *keys: str) -> Value:
    try:
        return check(value)
    except ValueError as error:
        raise _InvalidKeyError(str(error), *keys) from None


def _convert(table: Any, kind: type[Table], *place: str) -> Table:
    if not isinstance(table, dict):
        raise _InvalidKeyError(f"expected a table: [{'.'.join(place)}]", *place)
    _check_known(table, msgspec.structs.fields(kind), *place)
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        cause, _, where = str(error).partition(" - at `$.")
        key = re.split(r"[\[.`]", where, maxsplit=1)[0]
        raise _InvalidKeyError(_plain(cause), *place, *([key] if key else ())) from None


def _check_known(table: Mapping[str, Any], known: Iterable[Any], *place: str) -> None:
    names = [field if isinstance(field, str) else field.name for field in known]
    for key in table:
        if key not in names:
            near = get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(names)}"
            raise _InvalidKeyError(f"unknown key{hint}", *place, key)


def _plain(cause: str) -> str:
    """msgspec's text in the words of a configuration file."""
    names = {" | null": "", "`": "", "str": "a text in quotes", "int": "a whole number",
             "bool": "true or false", "array": "a list in [ ]", "object": "a table",
             "Invalid enum value": "not one of the values allowed:"}  # fmt: skip
    return re.sub("|".join(map(re.escape, names)), lambda match: names[match[0]], cause).lower()
