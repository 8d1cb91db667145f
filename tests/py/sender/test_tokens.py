from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenrelay.sender.tokens import Secret, TokenSet, fingerprint, is_token, next_serial


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


def test_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret("canary"))


def test_replace_changes_a_copy_only() -> None:
    token = TokenSet("a", 1)
    assert token.replace(serial=5).serial == 5
    assert token.serial == 0


@given(st.integers(0, 2**60), st.floats(0, 1e11))
def test_serial_always_grows_and_is_the_milliseconds_where_it_can_be(
    previous: int, wall: float
) -> None:
    serial = next_serial(previous, wall)
    assert serial > previous
    assert serial in (previous + 1, int(wall * 1000))


@pytest.mark.parametrize("byte", [c for c in range(256) if not 0x21 <= c <= 0x7E])
def test_no_other_byte_is_part_of_a_token(byte: int) -> None:
    assert not is_token(f"a{chr(byte)}b")


def test_length_of_a_token_is_1_to_16384() -> None:
    assert [is_token("x" * n) for n in (0, 1, 16_384, 16_385)] == [False, True, True, False]
