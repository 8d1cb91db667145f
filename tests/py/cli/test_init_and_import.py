"""`init` and `import`: the first two commands of a new user."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import stat
import subprocess
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.programs import TOKENRELAY
from tokenrelay.paths import Environment
from tokenrelay.sender.config import load_config
from tokenrelay.sender.errors import ConfigurationError

if TYPE_CHECKING:
    from support.command import Run
    from support.host import Host

LATER = 4102444800
# To its last blank: that comes after getpass(3) has thrown away what was typed ahead.
HIDDEN = "client_secret (not shown; empty: none): "
LOGIN = {"access_token": "access-a", "refresh_token": "refresh-a", "expires_at": LATER}


@pytest.fixture
def configured(host: Host) -> Host:
    """A host whose only account, `main`, has an endpoint that nobody asks here."""
    host.config.touch(mode=0o600)
    host.config.write_text(
        '[accounts.main]\ntoken_url = "http://127.0.0.1:9/token"\nclient_id = "client"\n'
    )
    return host


def run_in_terminal(host: Host, command: str, *talk: tuple[str, str], code: int = 0) -> str:
    """What a command shows in a terminal where each question gets its answer."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [*TOKENRELAY, command], env=host.environment, stdin=end, stdout=end, stderr=end,
        start_new_session=True,
    )  # fmt: skip
    os.close(end)
    said, seen = b"", 0
    for question, answer in talk:
        # The end of a question comes last: for a secret only after what was typed early is dropped.
        while (found := said.find(question.encode(), seen)) < 0 or not said.endswith(b": "):
            said += os.read(terminal, 4096)
        seen = found + len(question)
        os.write(terminal, answer.encode() + b"\n")
    with contextlib.suppress(OSError):  # EIO: nobody holds the other end any more
        while more := os.read(terminal, 4096):
            said += more
    os.close(terminal)
    assert process.wait(30) == code, said
    return said.decode()


def login_file(host: Host, content: Any) -> str:
    path = host.root / "login.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.mark.parametrize(("provider", "account"), [("schwab", "schwab"), ("generic", "default")])
def test_init_writes_a_private_file_that_lacks_only_what_the_user_knows(
    run: Run, host: Host, provider: str, account: str
) -> None:
    done = run("init", "--provider", provider)
    assert done.stdout.strip() == str(host.config)
    assert "Next: tokenrelay login" in done.stderr
    assert stat.S_IMODE(host.config.stat().st_mode) == 0o600
    written = host.config.read_text()
    assert account in tomllib.loads(written)["accounts"]
    with pytest.raises(ConfigurationError, match=rf"accounts\.{account}\.\w+: "):
        load_config(host.config)


@pytest.mark.parametrize(("provider", "account"), [("schwab", "schwab"), ("generic", "default")])
def test_every_commented_key_of_the_template_is_one_that_is_known(
    run: Run, host: Host, provider: str, account: str
) -> None:
    run("init", "--provider", provider)
    secret = host.root / "secret"
    secret.touch(mode=0o600)
    secret.write_text("s")
    filled = {
        "client_id": '"c"',
        "issuer": '"https://localhost"',
        "client_secret_file": f'"{secret}"',
    }
    lines = []
    for line in host.config.read_text().splitlines():
        key, equals, value = line.removeprefix("# ").partition(" = ")
        lines.append(f"{key} = {filled.get(key.strip(), value)}" if equals else line)
    host.config.write_text("\n".join(lines))
    config = load_config(host.config, Environment.current())
    assert config.select().name == account
    assert config.sender.log_format == "json"


def test_init_asks_in_a_terminal_and_writes_what_works(host: Host) -> None:
    said = run_in_terminal(
        host,
        "init",
        ("Provider", "gneric"),
        ("Provider", "generic"),
        ("Issuer", "http://example.com"),
        ("Issuer", "https://localhost"),
        ("client_id", "my-bot"),
        (HIDDEN, "s3cret"),
    )
    assert "'gneric' is not one of 'schwab', 'generic'" in said
    assert "must be https" in said
    assert "s3cret" not in said
    assert "Next: tokenrelay login" in said
    account = load_config(host.config).select()
    assert f"to the letter: {account.redirect_uri}\r\n" in said
    assert (account.issuer, account.client_id) == ("https://localhost", "my-bot")
    assert account.client_secret is not None
    assert account.client_secret.reveal() == "s3cret"
    assert stat.S_IMODE(host.config.with_name("default.secret").stat().st_mode) == 0o600


def test_init_knows_a_client_without_a_secret(host: Host) -> None:
    talk = [("Provider", "generic"), ("Issuer", "https://localhost"), ("client_id", "my-bot")]
    run_in_terminal(host, "init", *talk, (HIDDEN, ""))
    assert load_config(host.config).select().client_auth == "none"
    assert not host.config.with_name("default.secret").exists()


def test_init_asks_for_no_secret_that_it_would_not_write(host: Host) -> None:
    """The command that replaces the secret's file writes no configuration over it."""
    secret = host.config.with_name("default.secret")
    secret.write_text("mine")
    said = run_in_terminal(host, "init", ("Provider", "generic"), code=1)
    assert f"{secret} is there already" in said
    assert said.endswith(": tokenrelay init --force\r\n")
    assert secret.read_text() == "mine"


def test_init_takes_what_it_need_not_ask(run: Run, host: Host) -> None:
    run("init", "--provider", "generic", "--issuer", "https://localhost", "--client-id", "my-bot")
    assert 'client_id = "my-bot"' in host.config.read_text()
    wrong = run("init", "--issuer", "http://example.com", "--force", succeed=False)
    assert wrong.returncode == 2
    assert "must be https" in wrong.stderr
    needless = run("init", "--issuer", "https://localhost", "--force", succeed=False)
    assert needless.returncode == 2
    assert "Schwab has none" in needless.stderr


def test_what_comes_next_uses_the_file_that_was_written(run: Run, host: Host) -> None:
    path = host.root / "my bots" / "other.toml"
    said = run("--config", str(path), "init").stderr
    assert f"\n  ${{EDITOR:-vi}} '{path}'\n" in said
    assert f"tokenrelay --config '{path}' import FILE --account schwab\n" in said
    assert said.endswith(f"Next: tokenrelay --config '{path}' login\n")


def test_init_never_overwrites_without_force(run: Run, host: Host) -> None:
    host.config.write_text("mine")
    refused = run("init", succeed=False)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert host.config.read_text() == "mine"
    run("init", "--force")
    assert "[accounts.schwab]" in host.config.read_text()
    assert stat.S_IMODE(host.config.stat().st_mode) == 0o600


def test_import_stores_a_login_that_show_prints(run: Run, configured: Host) -> None:
    done = run("import", login_file(configured, LOGIN))
    assert "main: imported" in done.stdout
    assert "tokenrelay run" in done.stderr
    stored = configured.stored_token()
    assert stored["refresh_token"] == "refresh-a"
    assert stored["token_url"] == "http://127.0.0.1:9/token"
    assert stat.S_IMODE(configured.token_file().stat().st_mode) == 0o600
    assert run("show").stdout == "access-a\n"
    assert run("show", "--header").stdout == "Authorization: Bearer access-a\n"
    shown = json.loads(run("show", "main", "--json").stdout)
    assert (shown["access_token"], shown["expires_at"]) == ("access-a", LATER)
    assert shown["expires_in"] > 0


def test_import_says_how_to_remove_a_file_whatever_it_is_called(run: Run, configured: Host) -> None:
    path = Path(login_file(configured, LOGIN)).rename(configured.root / "my login.json")
    assert f": rm '{path}'\n" in run("import", str(path)).stderr


def test_import_reads_standard_input(run: Run, configured: Host) -> None:
    run("import", "-", stdin=json.dumps(LOGIN))
    assert configured.stored_token()["access_token"] == "access-a"


def test_import_keeps_a_newer_login_unless_forced(run: Run, configured: Host) -> None:
    run("import", login_file(configured, LOGIN))
    first = configured.stored_token()
    older = {**LOGIN, "access_token": "older", "refresh_token": "spent", "expires_at": LATER - 9}
    refused = run("import", login_file(configured, older), succeed=False)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert configured.stored_token() == first
    run("import", login_file(configured, older), "--force")
    stored = configured.stored_token()
    assert stored["access_token"] == "older"
    assert stored["serial"] > first["serial"]


def test_import_leaves_a_damaged_token_file_unless_forced(run: Run, configured: Host) -> None:
    run("import", login_file(configured, LOGIN))
    configured.token_file().write_text('{"access_tok')
    refused = run("import", login_file(configured, LOGIN), succeed=False)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert configured.token_file().read_text() == '{"access_tok'
    run("import", login_file(configured, LOGIN), "--force")
    assert configured.stored_token()["access_token"] == "access-a"
    assert configured.state.joinpath("main.json.bad").read_text() == '{"access_tok'


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "must be one JSON object"),
        ("<html>secret-in-a-page</html>", "must be one JSON object"),
        ({"access_token": "secret-a"}, "expires_at"),
        ({**LOGIN, "expires_at": LATER * 1000}, "Milliseconds"),
        ({**LOGIN, "refresh_token": "two words"}, "refresh_token"),
        ({**LOGIN, "token_type": "mac"}, "Bearer"),
        ({**LOGIN, "access_token": 7}, "access_token"),
    ],
)
def test_import_says_what_is_wrong_with_a_file(
    run: Run, configured: Host, content: Any, cause: str
) -> None:
    path = login_file(configured, content)
    refused = run("import", path, succeed=False)
    assert refused.returncode == 1
    assert path in refused.stderr
    assert cause in refused.stderr
    assert "secret" not in refused.stderr
    assert not configured.token_file().exists()


def test_import_of_a_missing_file_names_it(run: Run, configured: Host) -> None:
    missing = run("import", "/nonexistent/login.json", succeed=False)
    assert missing.returncode == 1
    assert missing.stderr == "tokenrelay: /nonexistent/login.json: No such file or directory\n"


def test_show_refuses_an_expired_token_and_names_the_cure(run: Run, configured: Host) -> None:
    expired = {**LOGIN, "expires_at": int(time.time()) - 60}
    run("import", login_file(configured, expired))
    refused = run("show", succeed=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "tokenrelay refresh main" in refused.stderr


def test_show_without_a_login_ends_with_four(run: Run, configured: Host) -> None:
    assert run("show", succeed=False).returncode == 4


def test_a_token_file_open_to_others_is_refused(run: Run, configured: Host) -> None:
    run("import", login_file(configured, LOGIN))
    Path(configured.token_file()).chmod(0o644)
    refused = run("show", succeed=False)
    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr
