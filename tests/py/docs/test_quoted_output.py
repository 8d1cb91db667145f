"""How the output on a page is compared with what a command prints."""

from __future__ import annotations

import pytest

from support.documents import assert_quoted
from support.markdown_code import Block

QUOTED = Block(
    line=1,
    language="text",
    text="""\
┏━━━━━━━━━━━━━┳━━━━━━━━━━┓
┃ what        ┃   figure ┃
┡━━━━━━━━━━━━━╇━━━━━━━━━━┩
│ delivery    │  30.4 µs │
│ refused     │        0 │
└─────────────┴──────────┘
…
Next: tokenrelay init
""",
)
PRINTED = """\
┏━━━━━━━━━━━━━┳━━━━━━━━━━━┓
┃ what        ┃    figure ┃
┡━━━━━━━━━━━━━╇━━━━━━━━━━━┩
│ delivery    │ 1130.4 ms │
│ refused     │         0 │
└─────────────┴───────────┘
a line that the page leaves out
Next: tokenrelay init
"""


def test_other_figures_and_the_width_they_give_a_column_are_accepted() -> None:
    assert_quoted(QUOTED, PRINTED)


@pytest.mark.parametrize(
    ("text", "other"),
    [("refused ", "accepted"), ("┳", "━"), ("0 │", "none │"), ("Next: tokenrelay init\n", "")],
)
def test_other_words_are_not(text: str, other: str) -> None:
    with pytest.raises(AssertionError, match="not printed, or not there"):
        assert_quoted(QUOTED, PRINTED.replace(text, other))


def test_another_order_is_accepted_only_where_it_is_asked_for() -> None:
    lines = PRINTED.splitlines()
    reordered = "\n".join([*lines[:3], lines[4], lines[3], *lines[5:]])
    assert_quoted(QUOTED, reordered, ordered=False)
    with pytest.raises(AssertionError, match="refused"):
        assert_quoted(QUOTED, reordered)
