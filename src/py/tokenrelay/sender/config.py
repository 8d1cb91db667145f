"""``tokenrelay.toml``: read strictly, checked wholly, errors with file, line and key."""

from __future__ import annotations

import re
import time
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from tokenrelay.paths import Environment, check_account, state_directory
from tokenrelay.sender import config_values as values
from tokenrelay.sender.config_tables import (
    AccountTable,
    InvalidKeyError,
    SenderSettings,
    check_known,
    checked,
    convert,
)
from tokenrelay.sender.config_text import find_line, read_text
from tokenrelay.sender.errors import ConfigurationError, CredentialsMissing
from tokenrelay.sender.presets import PRESETS
from tokenrelay.sender.sealing import check_source
from tokenrelay.sender.tokens import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tokenrelay.sender.config_tables import ClientAuth, Value


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


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file, checked. ``read_at``: Unix time."""

    accounts: dict[str, Account]
    sender: SenderSettings
    path: Path
    read_at: float = field(default_factory=time.time)

    def select(self, name: str | None = None) -> Account:
        """The named account; without a name the only one, else ``default``."""
        found = self.accounts.get("default" if name is None else name)
        if name is None and len(self.accounts) == 1:
            found = next(iter(self.accounts.values()))
        if found is None:
            cause = "which account is meant?" if name is None else f"no account {name!r};"
            known = ", ".join(sorted(self.accounts))
            verb = "is" if len(self.accounts) == 1 else "are"
            raise ConfigurationError(f"{self.path}: {cause} there {verb}: {known}")
        return found


def load_config(path: Path, env: Environment | None = None) -> Config:
    """The configuration at ``path``. ConfigurationError for whatever is wrong with it;
    CredentialsMissing where only a unit of systemd can use it."""
    env = env or Environment.current()
    text = read_text(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"at line (\d+)", str(error))
        line = where[1] if where else len(text.splitlines())
        raise ConfigurationError(f"{path}:{line}: not valid TOML: {error}") from None
    try:
        return _build(document, path, env)
    except InvalidKeyError as problem:
        line = find_line(text, problem.keys)
        place = f"{path}:{line}" if line else str(path)
        without = isinstance(problem.__cause__, values.NoCredentialsDirectoryError)
        kind = CredentialsMissing if without else ConfigurationError
        raise kind(f"{place}: {'.'.join(problem.keys)}: {problem}") from None


def _build(document: dict[str, Any], path: Path, env: Environment) -> Config:
    check_known(document, ("accounts", "sender"))
    tables = document.get("accounts")
    if not isinstance(tables, dict) or not tables:
        raise InvalidKeyError(
            "none: write a table [accounts.NAME], or: tokenrelay init", "accounts"
        )
    accounts = {name: _build_account(name, table, env) for name, table in tables.items()}
    _check_distinct_files(accounts.values())
    _check_mirrors(accounts.values())
    sender = convert(document.get("sender", {}), SenderSettings, "sender")
    if sender.metrics is not None:
        where = checked(lambda text: values.check_metrics(text, env), sender.metrics,
                        "sender", "metrics")  # fmt: skip
        sender = msgspec.structs.replace(sender, metrics=where)
    return Config(accounts, sender, path)


def _build_account(name: str, table: Any, env: Environment) -> Account:
    place = ("accounts", name)
    checked(check_account, name, *place)
    if not isinstance(table, dict):
        raise InvalidKeyError("expected a table: [accounts.NAME]", *place)
    provider = table.get("provider", "generic")
    preset = PRESETS.get(provider) if isinstance(provider, str) else {}
    if preset is None:
        raise InvalidKeyError(
            f"unknown; there is: {', '.join(sorted(PRESETS))}", *place, "provider"
        )
    raw = convert({**preset, **table}, AccountTable, *place)
    return _Reader(name, raw, env).account()


class _Reader:
    """Turns one checked table into an `Account`."""

    def __init__(self, name: str, raw: AccountTable, env: Environment) -> None:
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
            token_file=self._token_file(),
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
        raise InvalidKeyError(cause, "accounts", self._name, key)

    def _one(self, key: str, check: Callable[[Any], Value]) -> Value:
        return checked(check, getattr(self._raw, key), "accounts", self._name, key)

    def _each(self, key: str, check: Callable[[Any], Value]) -> Value | None:
        return None if getattr(self._raw, key) is None else self._one(key, check)

    def _all(self, key: str, check: Callable[[Any], Value]) -> tuple[Value, ...]:
        place = ("accounts", self._name, key)
        return tuple(checked(check, item, *place) for item in getattr(self._raw, key))

    def _token_file(self) -> Path:
        if self._raw.token_file is not None:
            return self._one("token_file", self._path)
        directory = checked(state_directory, self._env, "accounts", self._name, "token_file")
        return (directory / f"{self._name}.json").absolute()

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
        if not values.is_credential(value):
            self._fail(source, "empty, or holds a control character")
        return value

    def _source(self, suffix: str) -> Callable[[str], str]:
        if suffix == "_file":
            return lambda text: values.read_secret(
                self._path(text), by_hand=not text.startswith(values.CREDENTIALS)
            )
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
            raise InvalidKeyError(f"account {other} has the same file; each login needs its own",
                           "accounts", account.name, "token_file")  # fmt: skip


def _check_mirrors(accounts: Iterable[Account]) -> None:
    token_files = {account.token_file: account.name for account in accounts}
    taken = dict(token_files)
    for account in accounts:
        for path in account.mirror:
            place = ("accounts", account.name, "mirror")
            if any(path.name.startswith(f"{file.name}.") and path.parent == file.parent
                   for file in token_files):  # fmt: skip
                raise InvalidKeyError(f"{path}: kept for what belongs to a token_file", *place)
            if path in taken:
                raise InvalidKeyError(
                    f"{path}: would overwrite a file of account {taken[path]}", *place
                )
            taken[path] = account.name
