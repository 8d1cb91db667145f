from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tokenrelay.paths import Environment
from tokenrelay.sender.config import Config, load_config
from tokenrelay.sender.config_text import find_line
from tokenrelay.sender.config_values import (
    absolute_path,
    check_endpoint,
    parse_duration,
    parse_weekly,
)
from tokenrelay.sender.errors import ConfigurationError, CredentialsMissing

SCHWAB = '[accounts.schwab]\nprovider = "schwab"\nclient_id = "me"\nclient_secret = "canary"\n'
GENERIC = '[accounts.main]\ntoken_url = "https://example.com/token"\nclient_id = "me"\n'


def load(folder: Path, text: str, **variables: str) -> Config:
    path = folder / "tokenrelay.toml"
    path.write_text(text)
    path.chmod(0o600)
    return load_config(
        path, Environment(variables, os.getuid(), Path("/home/ada"), lambda _: False)
    )


def test_schwab_needs_only_the_client(tmp_path: Path) -> None:
    account = load(tmp_path, SCHWAB).accounts["schwab"]
    assert account.token_url == "https://api.schwabapi.com/v1/oauth/token"
    assert (account.client_auth, account.token_lifetime, account.login_lifetime) == (
        "basic", 1800, 7 * 86400)  # fmt: skip
    assert account.token_file == Path("/home/ada/.local/state/tokenrelay/schwab.json")
    assert account.warn_before_login_ends == (86400, 7200)
    assert account.rotation_grace == 10
    assert "canary" not in repr(account)


def test_a_path_below_a_home_that_is_not_there_is_refused() -> None:
    env = Environment({}, 1000, None, lambda _: False)
    with pytest.raises(ValueError, match="no home directory: set HOME, or write an absolute path"):
        absolute_path("~/t.json", env)


def test_every_key_of_the_contract_is_read(tmp_path: Path) -> None:
    account = load(
        tmp_path,
        SCHWAB
        + """
token_file = "~/t.json"
refresh_every = "25m"
rotation_grace = "0s"
sockets = ["/tmp/bigbrother_token.sock"]
include_refresh_token = true
warn_before_login_ends = ["2h", "24h"]
warn_at = ["Sun 18:00"]
on_event = ["notify-send", "{event}"]
issuer = "https://example.com"
token_url = "http://127.0.0.1:8000/token"
authorize_url = "https://example.com/a"
device_url = "https://example.com/d"
revoke_url = "https://example.com/r"
redirect_uri = "https://127.0.0.1:8182"
scopes = ["read"]
client_auth = "post"
pkce = true
timeout = "500ms"
allow_listener_uids = [1001]
mirror = ["/srv/token.json"]
[sender]
metrics = "127.0.0.1:9464"
log_format = "json"
log_level = "debug"
""",
    ).select()
    assert account.token_file == Path("/home/ada/t.json")
    assert (account.refresh_every, account.rotation_grace, account.timeout) == (1500, 0, 0.5)
    assert account.sockets == (Path("/tmp/bigbrother_token.sock"),)
    assert (account.client_auth, account.pkce, account.allow_listener_uids) == (
        "post", True, (1001,))  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        (SCHWAB + '\n# why\nrefresh_evry = "25m"', 7, "accounts.schwab.refresh_evry",
         "did you mean refresh_every?"),
        (SCHWAB + "colour = 1", 5, "accounts.schwab.colour", "unknown key; known: provider"),
        (SCHWAB + '[sendr]\nmetrics = "x"', 5, "sendr", "did you mean sender?"),
        (SCHWAB + '[sender]\nlog_fromat = "json"', 6, "sender.log_fromat", "log_format"),
        (SCHWAB + '[sender]\nlog_format = "xml"', 6, "sender.log_format", "allowed: 'xml'"),
        (SCHWAB + '[sender]\nmetrics = "9464"', 6, "sender.metrics", "127.0.0.1:9464"),
        (SCHWAB + 'refresh_every = "25"', 5, "accounts.schwab.refresh_every", 'as "25m"'),
        (SCHWAB + 'refresh_every = "25 min"', 5, "accounts.schwab.refresh_every", "no duration"),
        (SCHWAB + 'refresh_every = "-5m"', 5, "accounts.schwab.refresh_every", "no duration"),
        (SCHWAB + 'refresh_every = "0s"', 5, "accounts.schwab.refresh_every", "more than zero"),
        (SCHWAB + "refresh_every = 25", 5, "accounts.schwab.refresh_every", "text in quotes"),
        (SCHWAB + "pkce = 1", 5, "accounts.schwab.pkce", "true or false"),
        (SCHWAB + 'sockets = [\n  "/a",\n  3,\n]', 5, "accounts.schwab.sockets", "text in quotes"),
        (SCHWAB + 'sockets = "/a"', 5, "accounts.schwab.sockets", "a list in [ ]"),
        (SCHWAB + 'sockets = ["a.sock"]', 5, "accounts.schwab.sockets", "absolute path"),
        (SCHWAB + f'sockets = ["/{"x" * 107}"]', 5, "accounts.schwab.sockets", "108 bytes"),
        (SCHWAB + 'warn_at = ["Sunday 18:00"]', 5, "accounts.schwab.warn_at", "Sun 18:00"),
        (SCHWAB + "allow_listener_uids = [65534]", 5, "accounts.schwab.allow_listener_uids",
         "65534"),
        (SCHWAB + 'token_url = "http://example.com/"', 5, "accounts.schwab.token_url", "https"),
        (SCHWAB + 'client_auth = "jwt"', 5, "accounts.schwab.client_auth", "'jwt'"),
        (SCHWAB + 'client_secret_env = "S"', 5, "accounts.schwab.client_secret_env", "keep one"),
        (SCHWAB.replace('"schwab"', '"shwab"'), 2, "accounts.schwab.provider", "generic, schwab"),
        (SCHWAB.replace('client_secret = "canary"', ""), 1, "accounts.schwab.client_secret",
         "missing"),
        (SCHWAB.replace('"canary"', '""'), 4, "accounts.schwab.client_secret", "empty"),
        (SCHWAB.replace('client_id = "me"', ""), 1, "accounts.schwab.client_id", "missing"),
        (SCHWAB.replace("client_secret =", "client_secret_env ="), 4,
         "accounts.schwab.client_secret_env", "canary is not set"),
        (SCHWAB.replace('secret = "', 'secret_file = "/nowhere/'), 4,
         "accounts.schwab.client_secret_file", "is not there; make it: (umask 077; "),
        ('[accounts.main]\nclient_id = "me"', 1, "accounts.main.token_url", "issuer"),
        ("[accounts.BAD]\n", 1, "accounts.BAD", "1 to 32 of a-z"),
        ("[accounts]\nmain = 1", 2, "accounts.main", "table"),
        ("accounts = 3", 1, "accounts", "tokenrelay init"),
        (GENERIC + 'token_file = "/t"\n' + GENERIC.replace("main", "other") + 'token_file = "/t"',
         8, "accounts.other.token_file", "account main has the same file"),
    ],
)  # fmt: skip
def test_error_names_file_line_key_and_cure(
    tmp_path: Path, text: str, line: int, key: str, says: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/tokenrelay.toml:{line}: {key}: ")
    assert says in message
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "tokenrelay init"),
        (b"[accounts.a]\nx = = 1", ":2: not valid TOML"),
        (b"[accounts.a]\nx = 1\nx = 2", ":3: not valid TOML"),
        (b"# \xff", "not UTF-8 at byte 2"),
        (b"#" * (1 << 21), "over 1048576 bytes"),
    ],
)
def test_file_that_is_no_configuration(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "tokenrelay.toml"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=says):
        load_config(path)


def test_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"no such file; write one: tokenrelay --config /.*tokenrelay\.toml init$",
    ):
        load_config(tmp_path / "tokenrelay.toml")


def test_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my bots.toml"
    path.write_text(GENERIC)
    path.chmod(0o664)
    with pytest.raises(ConfigurationError, match=f"chmod go-w '{path}'$"):
        load_config(path)


@pytest.mark.needs_root
def test_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my bots.toml"
    path.write_text(GENERIC)
    os.chown(path, 1234, 1234)
    with pytest.raises(ConfigurationError, match=f"belongs to user 1234, .* chown 0 '{path}'$"):
        load_config(path)


def test_credentials_come_from_files_and_variables(tmp_path: Path) -> None:
    secret = tmp_path / "the secret"
    secret.write_text("from-file\n")
    secret.chmod(0o600)
    text = (
        '[accounts.main]\ntoken_url = "https://example.com/"\nclient_id_env = "ID"\n'
        f'client_secret_file = "{secret}"\n'
    )
    account = load(tmp_path, text, ID="from-env").select()
    assert account.client_id == "from-env"
    assert account.client_secret is not None
    assert account.client_secret.reveal() == "from-file"
    secret.chmod(0o622)
    cure = rf"can be written by others: chown \d+ '{secret}'; chmod 600 '{secret}'$"
    with pytest.raises(ConfigurationError, match=cure):
        load(tmp_path, text, ID="from-env")


def test_what_lacks_the_credentials_of_systemd_is_told_by_its_type(tmp_path: Path) -> None:
    text = GENERIC + 'client_secret_file = "$CREDENTIALS_DIRECTORY/secret"\n'
    with pytest.raises(CredentialsMissing, match=r"client_secret_file: .* LoadCredential="):
        load(tmp_path, text)
    with pytest.raises(ConfigurationError, match=r"secret is not there$") as there:
        load(tmp_path, text, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert not isinstance(there.value, CredentialsMissing)


def test_client_without_a_secret_is_public(tmp_path: Path) -> None:
    account = load(tmp_path, GENERIC).select("main")
    assert (account.client_auth, account.client_secret) == ("none", None)


def test_account_is_selected_by_name_else_the_only_one_else_default(tmp_path: Path) -> None:
    two = load(tmp_path, GENERIC + GENERIC.replace("main", "default"))
    assert two.select().name == "default"
    assert two.select("main").name == "main"
    with pytest.raises(ConfigurationError, match="no account 'x'; there are: default, main"):
        two.select("x")
    neither = load(tmp_path, GENERIC + GENERIC.replace("main", "other"))
    with pytest.raises(ConfigurationError, match=r"which account is meant\? there are: main, ot"):
        neither.select()


@pytest.mark.parametrize(
    ("text", "keys", "line"),
    [
        ("a = 1\n[t.u]\nb = 2\n", ("t", "u", "b"), 3),
        ('x = """\n[t]\nb = 1\n"""\n[t]\nb = 2\n', ("t", "b"), 6),
        ("t.u.b = 1", ("t", "u", "b"), 1),
        ("t = { u = 1, b = 2 }", ("t", "b"), 1),
        ("\n\n# c\n[t]\n# d\nb = [\n1,\n]\n", ("t", "b"), 6),
        ("[t]\na = [\n[1],\n]\nb = 2\n", ("t", "b"), 5),
        ("[t.u]\na = 1\n[t.v]\n\na = 2\n", ("t", "v", "a"), 5),
        ("[t]\na = 1\n", ("t", "missing"), 1),
        ("a = 1", ("missing",), None),
    ],
)
def test_line_of_a_key_is_found_in_any_spelling(
    text: str, keys: tuple[str, ...], line: int | None
) -> None:
    assert find_line(text, keys) == line


def test_a_line_among_many_accounts_is_found_in_little_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[int] = []
    loads = tomllib.loads

    def note_and_load(text: str) -> dict[str, Any]:
        parsed.append(len(text))
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", note_and_load)
    tables = [f'[accounts.a{number}]\nclient_id = "{number}"\n' for number in range(300)]
    text = "\n".join(tables)
    assert find_line(text, ("accounts", "a299", "client_id")) == 3 * 300 - 1
    assert sum(parsed) < 3 * len(text)


@pytest.mark.parametrize(
    "url",
    ["https://example.com/t", "http://127.0.0.1:1/t", "http://[::1]/t", "http://localhost:8/t"],
)
def test_endpoint_is_https_or_loopback(url: str) -> None:
    assert check_endpoint(url) == url


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "http://127.0.0.1.example.com/", "ftp://localhost/", "example.com",
     "https://", "https://a b/", "https://u:p@example.com/", "https://example.com/#f",
     "https://example.com:99999/", "http://[::1", "", "https://exämple.com/"],
)  # fmt: skip
def test_other_endpoints_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|endpoint|https"):
        check_endpoint(url)


def test_durations_and_weekly_times() -> None:
    assert [parse_duration(t) for t in ("500ms", "10s", "25m", "24h", "7d", "1.5h")] == [
        0.5, 10, 1500, 86400, 604800, 5400]  # fmt: skip
    with pytest.raises(ValueError, match="at most 36500d"):
        parse_duration("36501d")
    assert parse_weekly("Sun 18:00") == (6, 18, 0)
