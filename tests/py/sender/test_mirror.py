from __future__ import annotations

import json
import os
import stat
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from sender_support import NOW, stored
from structlog.testing import capture_logs

from tokenrelay.sender.config import load_config
from tokenrelay.sender.errors import ConfigurationError
from tokenrelay.sender.logs import get_log
from tokenrelay.sender.mirror import Mirror, encode_mirror

if TYPE_CHECKING:
    from pathlib import Path


def write(mirror: Mirror, number: int) -> None:
    mirror.publish(stored(number, scope="api"))
    anyio.run(mirror.write)


def mirror_of(*paths: Path, refresh: bool = False) -> Mirror:
    return Mirror(paths, include_refresh_token=refresh, log=get_log())


def test_the_file_is_private_and_has_the_access_token_alone(short_path: Path) -> None:
    path = short_path / "mirror.json"
    mask = os.umask(0)
    try:
        write(mirror_of(path), 1)
    finally:
        os.umask(mask)
    content = json.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert content["access_token"] == content["token"]["access_token"] == "access-1"
    assert content["expires_at"] == content["token"]["expires_at"] == NOW + 1800
    assert "refresh" not in path.read_text()


def test_the_inner_object_is_what_lumibots_external_mode_reads() -> None:
    content = json.loads(encode_mirror(stored(1, scope="api")))
    assert content["creation_timestamp"] == NOW
    assert content["token"] == {
        "access_token": "access-1",
        "token_type": "Bearer",
        "scope": "api",
        "expires_in": 1800,
        "issued_at": NOW * 1000,
        "expires_at": NOW + 1800,
    }


def test_the_refresh_token_is_there_only_if_it_was_asked_for() -> None:
    content = json.loads(encode_mirror(stored(1), include_refresh_token=True))
    assert content["refresh_token"] == content["token"]["refresh_token"] == "refresh-1"


def test_a_reader_sees_only_whole_files_while_it_is_replaced(short_path: Path) -> None:
    path = short_path / "mirror.json"
    mirror = mirror_of(path)
    write(mirror, 0)
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(json.loads(path.read_text())["access_token"])

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 50):
        write(mirror, number)
    done.set()
    reader.join()
    assert seen <= {f"access-{number}" for number in range(50)}
    assert [entry.name for entry in short_path.iterdir()] == ["mirror.json"]


def test_one_path_that_fails_is_logged_and_keeps_the_others_fed(short_path: Path) -> None:
    directory, good = short_path / "dir", short_path / "mirror.json"
    directory.mkdir()
    with capture_logs() as lines:
        write(mirror_of(directory, good), 1)
    assert [line["event"] for line in lines] == ["mirror not written"]
    assert str(directory) in lines[0]["error"]
    assert json.loads(good.read_text())["access_token"] == "access-1"


def test_a_symbolic_link_is_replaced_not_followed(short_path: Path) -> None:
    target, link = short_path / "target", short_path / "mirror.json"
    target.write_text("mine")
    link.symlink_to(target)
    write(mirror_of(link), 1)
    assert target.read_text() == "mine"
    assert not link.is_symlink()


@pytest.mark.parametrize("name", ["main.json", "main.json.journal", "other.json"])
def test_a_mirror_over_a_file_of_another_purpose_is_refused(short_path: Path, name: str) -> None:
    config = short_path / "tokenrelay.toml"
    table = (
        '[accounts.{}]\ntoken_url = "https://x.test/t"\nclient_id = "c"\n'
        'token_file = "{}/{}.json"\n'
    )
    text = "".join(table.format(one, short_path, one) for one in ("main", "other"))
    config.touch(mode=0o600)
    config.write_text(f'{text}mirror = ["{short_path}/{name}"]\n')
    with pytest.raises(ConfigurationError, match=r"accounts\.other\.mirror: "):
        load_config(config)
