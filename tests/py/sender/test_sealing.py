"""Encryption with a systemd credential; ``tests/keyring`` has the keyring."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from sender_support import NOW, account, stored

from tokenrelay.sender.errors import VaultError
from tokenrelay.sender.sealing import MARK, check_source
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def credential(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(short_path))
    path = short_path / "key"
    path.write_bytes(os.urandom(32))
    return path


def vault(directory: Path, encrypt: str | None = "credential:key") -> Vault:
    return Vault.of(account(directory / "t.json", None, encrypt=encrypt))


def content_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.glob("t.json*"))


def rotate(vault: Vault, number: int) -> None:
    with vault.transaction() as transaction:
        transaction.prepare()
        transaction.commit(stored(number))


def test_no_file_shows_a_token_and_another_process_reads_it(
    short_path: Path, credential: Path
) -> None:
    first = vault(short_path)
    first.store(stored(1))
    rotate(first, 2)
    assert b"access-" not in content_of(short_path)
    assert b"refresh-" not in content_of(short_path)
    assert (short_path / "t.json").read_bytes().startswith(MARK)
    loaded = vault(short_path).load()
    assert loaded is not None
    assert (loaded.access_token, loaded.refresh_token) == ("access-2", "refresh-2")
    previous = vault(short_path).load_previous()
    assert previous is not None
    assert previous.refresh_token is None


def test_a_plain_file_is_read_and_encrypted_by_the_next_write(
    short_path: Path, credential: Path
) -> None:
    vault(short_path, None).store(stored(1))
    assert b"refresh-1" in content_of(short_path)
    rotate(vault(short_path), 2)
    assert b"refresh-" not in content_of(short_path)


def test_without_the_key_nothing_is_spent_and_the_file_is_left_alone(
    short_path: Path, credential: Path
) -> None:
    vault(short_path, None).store(stored(1))
    credential.unlink()
    with (
        pytest.raises(VaultError, match="credential"),
        vault(short_path).transaction() as transaction,
    ):
        transaction.prepare()
    assert json.loads((short_path / "t.json").read_text())["refresh_token"] == "refresh-1"


def test_a_login_without_the_key_leaves_the_old_file_in_its_place(
    short_path: Path, credential: Path
) -> None:
    vault(short_path).store(stored(1))
    before = (short_path / "t.json").read_bytes()
    credential.unlink()
    with pytest.raises(VaultError, match="credential"):
        vault(short_path).store(stored(2))
    assert (short_path / "t.json").read_bytes() == before


@pytest.mark.parametrize("damage", ["another key", "no setting", "a flipped byte", "no directory"])
def test_a_file_that_cannot_be_opened_is_refused_and_names_the_cure(
    short_path: Path, credential: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    vault(short_path).store(stored(1))
    path = short_path / "t.json"
    encrypt: Any = "credential:key"
    if damage == "another key":
        credential.write_bytes(os.urandom(32))
    elif damage == "no setting":
        encrypt = None
    elif damage == "no directory":
        monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    else:
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(VaultError, match=r"encrypt|Credential"):
        vault(short_path, encrypt).load()
    assert path.read_bytes() == before


def test_a_key_too_short_to_protect_anything_is_refused(short_path: Path, credential: Path) -> None:
    credential.write_bytes(b"short")
    with pytest.raises(VaultError, match="16 to 4096 bytes"):
        vault(short_path).store(stored(1))
    assert not (short_path / "t.json").exists()


@pytest.mark.parametrize(
    "text", ["", "keychain", "credential:", "credential:../x", "credential:a/b"]
)
def test_a_source_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="credential:NAME"):
        check_source(text)


def test_the_longest_tokens_fit_into_the_file(short_path: Path, credential: Path) -> None:
    longest = "x" * 16_384
    vault(short_path).store(
        stored(1, access_token=longest, refresh_token=longest, expires_at=NOW + 1)
    )
    loaded = vault(short_path).load()
    assert loaded is not None
    assert loaded.refresh_token == longest
