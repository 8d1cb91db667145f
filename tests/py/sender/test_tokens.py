from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrelay.sender import foreign_files, vault
from tokenrelay.sender.config_tables import AccountTable
from tokenrelay.sender.tokens import (
    MAXIMUM_SERIAL,
    Secret,
    TokenSet,
    fingerprint,
    is_token,
    next_serial,
)


def test_text_forms_never_show_a_secret() -> None:
    token = TokenSet("canary-access", 4_102_444_800, refresh_token="canary-refresh", serial=7)
    for text in (
        repr(token),
        str(token),
        f"{token}",
        repr(Secret("canary")),
        str(Secret("canary")),
    ):
        assert "canary" not in text
    assert fingerprint("canary-access") in repr(token)


@pytest.mark.parametrize(
    "read",
    [
        AccountTable(client_secret="canary"),
        vault._Schema("canary", 4_102_444_800),
        foreign_files._PlainLogin("canary"),
        foreign_files._SchwabPyFile(foreign_files._PlainLogin("canary"), 4_102_444_800),
        foreign_files._Keys({"access_token": "canary"}),
    ],
    ids=lambda read: type(read).__name__,
)
def test_what_was_read_from_a_file_never_shows_a_secret(read: object) -> None:
    assert "canary" not in repr(read)


def test_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret("canary"))


def test_replace_changes_a_copy_only() -> None:
    token = TokenSet("a", 1)
    assert token.replace(serial=5).serial == 5
    assert token.serial == 0


@given(st.integers(0, MAXIMUM_SERIAL - 1), st.floats(0, 1e11))
def test_serial_always_grows_and_is_the_milliseconds_where_it_can_be(
    previous: int, wall: float
) -> None:
    serial = next_serial(previous, wall)
    assert serial > previous
    assert serial in (previous + 1, int(wall * 1000))
    assert serial <= MAXIMUM_SERIAL


def test_after_the_highest_serial_the_order_begins_anew() -> None:
    assert next_serial(MAXIMUM_SERIAL, 1_700_000_000.5) == 1_700_000_000_500


@pytest.mark.parametrize("byte", [c for c in range(256) if not 0x21 <= c <= 0x7E])
def test_no_other_byte_is_part_of_a_token(byte: int) -> None:
    assert not is_token(f"a{chr(byte)}b")


def test_length_of_a_token_is_1_to_16384() -> None:
    assert [is_token("x" * n) for n in (0, 1, 16_384, 16_385)] == [False, True, True, False]
