from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from shlex import quote

import pytest
from sender_support import NOW, stored

from tokenrelay.sender.errors import VaultBusy, VaultError
from tokenrelay.sender.journal import Intent, Journal, Pause
from tokenrelay.sender.vault import Vault

KEYS = {
    "access_token", "refresh_token", "expires_at", "serial", "issued_at", "granted_at",
    "grant_expires_at", "token_type", "scope", "token_url", "client_id",
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "main.json"


@pytest.fixture
def vault(path: Path) -> Vault:
    return Vault(path, token_url="https://example.com/t", client_id="me", wall=lambda: NOW)


def test_what_is_stored_is_loaded_again(vault: Vault) -> None:
    assert vault.load() is None
    saved = vault.store(stored(scope="read", grant_expires_at=NOW + 9))
    assert saved.serial == NOW * 1000
    assert vault.load() == saved


def test_file_has_the_keys_of_the_contract_and_is_private(vault: Vault, path: Path) -> None:
    vault.store(stored(scope="read", grant_expires_at=NOW + 9))
    content = json.loads(path.read_text())
    assert set(content) == KEYS
    assert (content["token_url"], content["client_id"]) == ("https://example.com/t", "me")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert path.stat().st_size == len(path.read_bytes().rstrip(b"\0"))


def test_each_store_has_a_higher_serial(vault: Vault) -> None:
    assert vault.store(stored()).serial < vault.store(stored(1)).serial


def test_previous_copy_has_no_refresh_token(vault: Vault, path: Path) -> None:
    saved = vault.store(stored())
    assert vault.load_previous() == saved.replace(refresh_token=None)
    assert b"refresh-0" not in path.with_name("main.json.prev").read_bytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\0" * 65_536, "empty"),
        (b'{"access_token": "a", "expires_', "truncated"),
        (b'\xff\xfe{"access_token": "a"}', "not a tokenrelay token file"),
        (b'{"creation_timestamp": 1, "token": {"access_token": "a"}}', "tokenrelay import"),
        (b'{"access_token": "a", "expires_at": "soon"}', "not a tokenrelay token file"),
        (b'{"access_token": "a", "expires_at": 1700000000000}', "Unix seconds"),
        *((b'{"access_token": "a", "expires_at": 1700000000, "%s": %d}' % (key.encode(), moment),
           f"{key} is not in Unix seconds")
          for key in ("issued_at", "granted_at", "grant_expires_at")
          for moment in (0, 1700000000000)),
        (b'{"access_token": "a b", "expires_at": 1700000000}', "access_token holds bytes"),
        (b'{"access_token": "a", "expires_at": 1700000000, "refresh_token": "\\n"}',
         "refresh_token holds bytes"),
        (b'{"access_token": "a", "expires_at": 1700000000, "serial": -1}', "serial"),
        (b'{"access_token": "a", "expires_at": 1700000000, "serial": 9007199254740992}', "serial"),
        (b'{"access_token": "a", "expires_at": 1700000000, "token_type": "mac"}', "Bearer"),
        (b'{"access_token": "a", "expires_at": 1700000000, "client_id": "you"}',
         "granted for another client_id: you"),
        (b'{"access_token": "a", "expires_at": 1700000000, "token_url": "https://e.org/"}',
         "granted for another token_url"),
        (b"x" * 70_000, "not a token file"),
    ],
)  # fmt: skip
def test_unusable_file_is_told_apart_and_kept(
    vault: Vault, path: Path, content: bytes, says: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(VaultError, match=says) as caught:
        vault.load()
    assert str(path) in str(caught.value)
    with pytest.raises(VaultError), vault.transaction():
        pass
    assert path.read_bytes() == content


def test_new_login_sets_an_unusable_file_aside(vault: Vault, path: Path) -> None:
    path.parent.mkdir()
    for text in ("first", "second"):
        path.write_text(text)
        path.chmod(0o600)
        saved = vault.store(stored())
    assert vault.load() == saved
    assert path.with_name("main.json.bad").read_text() == "first"
    assert path.with_name("main.json.bad1").read_text() == "second"


def test_what_is_set_aside_is_closed_to_others(vault: Vault, path: Path) -> None:
    vault.store(stored())
    path.chmod(0o644)
    vault.store(stored(1))
    aside = path.with_name("main.json.bad")
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert "refresh-0" in aside.read_text()


def test_links_modes_and_other_kinds_are_refused(vault: Vault, path: Path) -> None:
    vault.store(stored())
    real = path.with_name("real")
    path.rename(real)

    path.symlink_to(real)
    with pytest.raises(VaultError, match="symbolic link"):
        vault.load()
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(VaultError, match="symbolic link"):
        vault.load()
    path.unlink()

    path.hardlink_to(real)
    with pytest.raises(VaultError, match="2 names"):
        vault.load()
    path.unlink()

    os.mkfifo(path, 0o600)
    with pytest.raises(VaultError, match="not a regular file"):
        vault.load()
    path.unlink()

    real.rename(path)
    path.chmod(0o640)
    with pytest.raises(VaultError, match=r"mode 0640\): chmod 600"):
        vault.load()
    path.chmod(0o600)
    assert vault.load() is not None


def test_file_of_another_user_is_refused(path: Path) -> None:
    if os.geteuid() == 0:
        path = path.with_name("the login.json")
        vault = Vault(path)
        vault.store(stored())
        os.chown(path, 65534, -1)
    else:
        vault = Vault(Path("/etc/passwd"))
    cure = rf"chown \d+ {quote(str(vault.path))}$"
    with pytest.raises(VaultError, match=rf"belongs to user \d+: {cure}"):
        vault.load()


def test_directory_where_others_may_write_is_refused(vault: Vault, path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(VaultError, match="chmod go-w"):
        vault.store(stored())


def test_advice_can_be_pasted_whatever_the_folder_is_called(tmp_path: Path) -> None:
    path = tmp_path / "my bots" / "main.json"
    vault = Vault(path)
    vault.store(stored())
    path.chmod(0o640)
    with pytest.raises(VaultError, match=f"chmod 600 '{path}',"):
        vault.load()
    path.chmod(0o600)
    path.write_text("{}")
    with pytest.raises(VaultError, match=f"tokenrelay import '{path}'$"):
        vault.load()
    path.parent.chmod(0o777)
    with pytest.raises(VaultError, match=f"chmod go-w '{path.parent}'$"):
        vault.store(stored())


def test_lock_holds_one_transaction_at_a_time(vault: Vault, path: Path) -> None:
    vault.store(stored())
    with (
        vault.transaction(),
        pytest.raises(VaultBusy, match="another process"),
        Vault(path).transaction(timeout=0.05),
    ):
        pass
    with vault.transaction(timeout=0) as transaction:
        assert transaction.current == vault.load()


def test_reserved_space_is_given_back_where_nothing_is_committed(vault: Vault, path: Path) -> None:
    vault.store(stored())
    before = sorted(path.parent.iterdir())
    with vault.transaction() as transaction:
        transaction.prepare()
        assert len(list(path.parent.iterdir())) == len(before) + 1
    assert sorted(path.parent.iterdir()) == before


def test_rest_of_a_killed_process_is_in_nobodys_way(vault: Vault, path: Path) -> None:
    vault.store(stored())
    rest = path.with_name(".main.json.new")
    rest.write_text("rest")
    with vault.transaction() as transaction:
        transaction.prepare()
        transaction.commit(stored(1))
    assert not rest.exists()
    assert vault.load() == vault._bound(stored(1))


def test_commit_ends_intent_and_refusal_but_keeps_the_requests(vault: Vault) -> None:
    vault.store(stored())
    with vault.transaction() as transaction:
        intent = Intent("00000000", NOW, 1.0, "boot")
        pause = Pause(5.0, NOW, 1.0, "boot")
        transaction.write_journal(Journal(requests=(1.0,), intent=intent, pause=pause))
        assert vault.load_journal().intent == intent
        transaction.commit(stored(1))
    assert vault.load_journal() == Journal(requests=(1.0,))


def test_illegible_journal_is_an_empty_one(vault: Vault, path: Path) -> None:
    vault.store(stored())
    journal = path.with_name("main.json.journal")
    journal.write_text('{"version": 1, "req')
    assert vault.load_journal() == Journal()


@pytest.mark.parametrize("call", ["posix_fallocate", "open"])
def test_full_disk_shows_before_anything_is_spent(
    vault: Vault, path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = vault.store(stored())

    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with vault.transaction() as transaction:
        monkeypatch.setattr(os, call, fail)
        with pytest.raises(VaultError, match="No space left"):
            transaction.prepare()
        monkeypatch.undo()
    assert vault.load() == saved
    assert not path.with_name(".main.json.new").exists()


@pytest.mark.parametrize("call", ["pwrite", "fsync", "ftruncate"])
def test_failed_commit_leaves_the_old_file_and_can_be_repeated(
    vault: Vault, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = vault.store(stored())

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with vault.transaction() as transaction:
        transaction.prepare()
        monkeypatch.setattr(os, call, fail)
        with pytest.raises(VaultError, match="Input/output error"):
            transaction.commit(stored(1))
        assert transaction.unsaved
        monkeypatch.undo()
        assert vault.load() == saved
        transaction.commit(stored(1))
        assert not transaction.unsaved
    assert vault.load() == vault._bound(stored(1))


def test_short_writes_are_completed(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: whole(fd, bytes(data[:7]), at))
    assert vault.load() is None
    saved = vault.store(stored())
    assert vault.load() == saved
