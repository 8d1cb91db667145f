from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from tokenrelay import paths

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "paths.json").read_text())


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_resolver_follows_the_shared_vectors(case: dict[str, Any]) -> None:
    env = paths.Environment(
        case["variables"], case["uid"], Path(case["home"]), case["existing"].__contains__
    )
    assert str(paths.runtime_directory(env)) == case["runtime"]
    assert [str(path) for path in paths.runtime_directories(env)] == case["all_runtime"]
    assert str(paths.state_directory(env)) == case["state"]
    assert str(paths.config_file(env)) == case["config"]


def test_option_wins_over_the_variable() -> None:
    env = paths.Environment({"TOKENRELAY_CONFIG": "/a"}, 1000, Path("/home/ada"), lambda _: False)
    assert paths.config_file(env, Path("/b")) == Path("/b")


def test_without_a_home_only_what_is_below_it_is_missing() -> None:
    places = {"TOKENRELAY_CONFIG": "/a", "TOKENRELAY_STATE_DIR": "/b"}
    env = paths.Environment(places, 1000, None, lambda _: False)
    assert (paths.config_file(env), paths.state_directory(env)) == (Path("/a"), Path("/b"))
    env = paths.Environment({}, 1000, None, lambda _: False)
    assert paths.runtime_directory(env) == Path("/tmp/tokenrelay-1000")
    for resolve in (paths.config_file, paths.state_directory):
        with pytest.raises(paths.NoHomeError, match="set HOME, or TOKENRELAY_CONFIG and "):
            resolve(env)


@pytest.mark.parametrize("home", [None, "here"])
def test_a_home_that_is_not_told_is_not_the_current_folder(
    home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)
    assert paths.Environment.current().home is None


def test_environment_does_not_show_its_variables() -> None:
    env = paths.Environment({"API_KEY": "canary"}, 1000, Path("/home/ada"), lambda _: False)
    assert "canary" not in repr(env)


@pytest.mark.parametrize("name", ["default", "a", "0", "schwab-2_b", "a" * 32])
def test_good_account_names(name: str) -> None:
    assert paths.check_account(name) == name


@pytest.mark.parametrize("name", ["", "-a", "_a", "A", "a.b", "a/b", "..", "a" * 33, "a\n", "é"])
def test_bad_account_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 32 of a-z"):
        paths.check_account(name)


def test_private_directory_is_made_0700_with_its_parents(tmp_path: Path) -> None:
    path = paths.ensure_private_directory(tmp_path / "a" / "b" / "c")
    assert [p.stat().st_mode & 0o777 for p in (path, path.parent)] == [0o700, 0o700]
    assert paths.ensure_private_directory(path) == path


def test_directory_open_to_others_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "open to all"
    path.mkdir()
    path.chmod(0o750)
    with pytest.raises(PermissionError, match=f"chmod 700 '{path}'$"):
        paths.ensure_private_directory(path)


def test_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(NotADirectoryError, match="not a directory"):
        paths.ensure_private_directory(path)


@pytest.mark.needs_root
@pytest.mark.parametrize("link", [False, True])
def test_directory_or_link_of_another_user_is_refused(tmp_path: Path, link: bool) -> None:
    path = tmp_path / "theirs"
    if link:
        own = paths.ensure_private_directory(tmp_path / "own")
        path.symlink_to(own)
    else:
        path.mkdir(mode=0o700)
    os.chown(path, 1234, 1234, follow_symlinks=False)
    with pytest.raises(PermissionError, match="belongs to user 1234"):
        paths.ensure_private_directory(path)
