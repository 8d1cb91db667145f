from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from login_support import REQUEST

from tokenrelay.sender.authorization import LoginRefused, NotOurCallback
from tokenrelay.sender.errors import SenderError
from tokenrelay.sender.pasted import read_pasted, read_url

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "https://127.0.0.1:8182/?code=C0.abc%40&session=1&state=the-state"


@pytest.mark.parametrize(
    "pasted",
    [
        URL,
        f"  {URL}\r\n",
        f'"{URL}"',
        f"'{URL}'",
        f"`{URL}`",
        f"<{URL}>",
        f"“{URL}”",
        URL[:40] + "\n" + URL[40:],
        URL[:20] + " \r\n   " + URL[20:50] + "\n" + URL[50:],
        URL.replace("?", "\\?").replace("&", "\\&").replace("=", "\\="),
        f"\x1b[200~{URL}\x1b[201~",
        f"{URL}#",
        URL.partition("?")[2],
        f"\ufeff{URL}\u200b",
    ],
)
def test_the_address_is_understood_however_it_was_pasted(pasted: str) -> None:
    assert read_url(pasted, REQUEST) == "C0.abc@"


@pytest.mark.parametrize(
    ("pasted", "cause"),
    [
        ("  ", "nothing"),
        (REQUEST.url, "login page"),
        ("C0.abc@", "whole address"),
        (URL.replace("the-state", "old-state"), "not of this login"),
        (URL[:-3], "not of this login"),
    ],
)
def test_what_is_not_the_address_is_told_apart(pasted: str, cause: str) -> None:
    with pytest.raises(NotOurCallback, match=cause):
        read_url(pasted, REQUEST)


class Paste:
    """A terminal's input, and what the user was told."""

    def __init__(self) -> None:
        self.input, self.output = os.pipe()
        self.notes: list[str] = []
        self.told = threading.Semaphore(0)

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.told.release()

    def read(self, patience: float = 20) -> str:
        return read_pasted(REQUEST, descriptor=self.input, patience=patience, note=self.note)


@pytest.fixture
def paste() -> Iterator[Paste]:
    paste = Paste()
    yield paste
    os.close(paste.input)
    os.close(paste.output)


def test_a_paste_in_several_lines_is_read_whole(paste: Paste) -> None:
    """The state comes first here: the code's second line must not be left out."""
    for part in ("https://127.0.0.1:8182/?state=the-state&code=ab\n", "cd\n", "ef\n"):
        os.write(paste.output, part.encode())
    assert paste.read() == "abcdef"


def test_a_wrong_paste_is_explained_and_asked_for_again(paste: Paste) -> None:
    def correct() -> None:
        paste.told.acquire()
        os.write(paste.output, URL.encode() + b"\n")

    os.write(paste.output, b"no idea\n")
    correcting = threading.Thread(target=correct)
    correcting.start()
    assert paste.read() == "C0.abc@"
    correcting.join()
    assert "whole address" in paste.notes[0]


def test_the_providers_refusal_may_be_pasted_too(paste: Paste) -> None:
    os.write(paste.output, b"https://127.0.0.1:8182/?error=access_denied&state=the-state\n")
    with pytest.raises(LoginRefused, match="access_denied"):
        paste.read()


def test_an_input_that_ends_is_an_error(paste: Paste) -> None:
    os.write(paste.output, b"nonsense")
    closed = os.dup(paste.output)
    os.dup2(paste.input, paste.output)
    os.close(closed)
    with pytest.raises(SenderError, match="no usable address"):
        paste.read()


def test_nothing_pasted_in_time_is_an_error(paste: Paste) -> None:
    with pytest.raises(SenderError, match="in time"):
        paste.read(patience=0.05)


def test_a_flood_is_an_error(paste: Paste) -> None:
    flooding = threading.Thread(target=os.write, args=(paste.output, b"x" * 60_000))
    flooding.start()
    flooding.join()
    more = threading.Thread(target=os.write, args=(paste.output, b"x" * 60_000))
    more.start()
    with pytest.raises(SenderError, match="too long"):
        paste.read()
    os.set_blocking(paste.input, False)
    more.join(10)
