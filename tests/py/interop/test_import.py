"""`tokenrelay import` reads what schwab-py and Schwabdev themselves have written."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
import schwab.auth
import schwabdev.tokens
from cryptography.fernet import Fernet
from interop_support import API_KEY, APP_SECRET, CALLBACK

from support.documents import blocks_of, for_each
from support.reader import Reader
from support.strict import StrictApi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interop_support import Schwab

    from support.command import Run
    from support.host import Host
    from support.markdown_code import Block
    from support.programs import Start

WEEK = 7 * 86400


@pytest.fixture
def schwab_py_file(host: Host, schwab_api: Schwab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What schwab-py leaves after a login, its creation set back by a day."""
    path = host.root / "schwab-token.json"
    monkeypatch.setattr(schwab.auth, "TOKEN_ENDPOINT", schwab_api.token_url)
    write = getattr(schwab.auth, "__make_update_token_func")(str(path))
    context = schwab.auth.get_auth_context(API_KEY, CALLBACK, state="s")
    schwab.auth.client_from_received_url(
        API_KEY, APP_SECRET, context, f"{CALLBACK}/?code=c&state=s", write
    )
    written = json.loads(path.read_text())
    path.write_text(
        json.dumps({**written, "creation_timestamp": written["creation_timestamp"] - 86400})
    )
    return path


def schwabdev_file(
    host: Host, server: Schwab, monkeypatch: pytest.MonkeyPatch, key: str | None = None
) -> Path:
    """What Schwabdev leaves after a login."""
    post = schwabdev.tokens.requests.post

    def post_here(url: str, **options: Any) -> Any:
        assert url == "https://api.schwabapi.com/v1/oauth/token"
        return post(server.token_url, **options)

    monkeypatch.setattr(schwabdev.tokens.requests, "post", post_here)
    path = host.root / ".schwabdev" / "tokens.db"
    path.parent.mkdir()
    with schwabdev.tokens.Tokens(
        API_KEY,
        APP_SECRET,
        CALLBACK,
        logging.getLogger("Schwabdev"),
        str(path),
        key,
        lambda _url: f"{CALLBACK}/?code=c",
    ) as tokens:
        assert tokens.access_token == server.access_token
    return path


def test_schwab_pys_file_is_taken_over_with_the_age_of_its_login(
    run: Run, configured: Host, schwab_py_file: Path
) -> None:
    done = run("import", str(schwab_py_file))
    written = json.loads(schwab_py_file.read_text())
    stored = configured.stored_token("schwab")
    for key in ("access_token", "refresh_token", "expires_at", "scope"):
        assert stored[key] == written["token"][key]
    assert stored["granted_at"] == written["creation_timestamp"]
    assert stored["grant_expires_at"] == written["creation_timestamp"] + WEEK
    assert f"rm {schwab_py_file}" in done.stderr


def test_schwab_pys_file_comes_through_standard_input(
    run: Run, configured: Host, schwab_py_file: Path
) -> None:
    run("import", "-", stdin=schwab_py_file.read_text())
    assert configured.stored_token("schwab")["access_token"] == "access-1"


def test_the_login_goes_on_after_the_import(
    run: Run, configured: Host, schwab_py_file: Path, schwab_api: Schwab
) -> None:
    run("import", str(schwab_py_file))
    before = configured.stored_token("schwab")
    run("refresh")
    after = configured.stored_token("schwab")
    assert schwab_api.grants == ["authorization_code", "refresh_token"]
    assert (after["access_token"], after["refresh_token"]) == ("access-2", "refresh-2")
    assert after["grant_expires_at"] == before["grant_expires_at"]


def test_schwabdevs_database_is_taken_over_and_left_as_it_is(
    run: Run, configured: Host, schwab_api: Schwab, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = schwabdev_file(configured, schwab_api, monkeypatch)
    before = path.read_bytes()
    run("import", str(path))
    stored = configured.stored_token("schwab")
    assert (stored["access_token"], stored["refresh_token"]) == ("access-1", "refresh-1")
    assert stored["granted_at"] == pytest.approx(time.time(), abs=60)
    assert stored["grant_expires_at"] == stored["granted_at"] + WEEK
    assert stored["expires_at"] == stored["issued_at"] + 1800
    assert path.read_bytes() == before


def test_an_encrypted_database_opens_with_the_key_in_a_file(
    run: Run, configured: Host, schwab_api: Schwab, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Fernet.generate_key().decode()
    path = schwabdev_file(configured, schwab_api, monkeypatch, key)
    assert b"access-1" not in path.read_bytes()
    refused = run("import", str(path), succeed=False)
    assert refused.returncode == 1
    assert "--key-file" in refused.stderr
    key_file = configured.root / "key"
    key_file.touch(mode=0o600)
    for wrong, cause in ((Fernet.generate_key().decode(), "another key"), ("short", "Fernet key")):
        key_file.write_text(wrong)
        refused = run("import", str(path), "--key-file", str(key_file), succeed=False)
        assert cause in refused.stderr
        assert wrong not in refused.stderr
    key_file.write_text(f"{key}\n")
    run("import", str(path), "--key-file", str(key_file))
    stored = configured.stored_token("schwab")
    assert (stored["access_token"], stored["refresh_token"]) == ("access-1", "refresh-1")


def test_a_database_in_use_elsewhere_or_of_another_program_is_named(
    run: Run, configured: Host
) -> None:
    path = configured.root / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE other (secret TEXT)")
    database.close()
    refused = run("import", str(path), succeed=False)
    assert refused.returncode == 1
    assert str(path) in refused.stderr
    assert "Schwabdev" in refused.stderr


def test_a_database_without_a_login_names_the_cure(run: Run, configured: Host) -> None:
    path = configured.root / "empty.db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE schwabdev (access_token_issued, refresh_token_issued, access_token, "
            "refresh_token, id_token, expires_in, token_type, scope)"
        )
    database.close()
    assert "tokenrelay login" in run("import", str(path), succeed=False).stderr
    with sqlite3.connect(path) as database:
        row = ("never", "2026-01-01T00:00:00", "a", "r", "i", 1800, "Bearer", "api")
        database.execute("INSERT INTO schwabdev VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    database.close()
    assert "times" in run("import", str(path), succeed=False).stderr


@pytest.fixture
def reader(host: Host, start: Start) -> Iterator[Reader]:
    api = StrictApi.start()
    yield Reader(host, api, start)
    api.program.dispose()


@for_each(blocks_of(__file__))
def test_a_reader_brings_both_files(
    block: Block, reader: Reader, host: Host, schwab_py_file: Path, schwab_api: Schwab,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The second one is of a later login."""
    schwabdev_file(host, schwab_api, monkeypatch)
    reader.has_done(block.commands)
    reader.types(block.commands)
    assert host.stored_token("schwab")["access_token"] == "access-2"
