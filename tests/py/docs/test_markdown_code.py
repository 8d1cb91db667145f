"""How code is found in a Markdown page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.markdown_code import programs, read_blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = """\
Text with `code`.

```python
one = 1
```

<!-- run: after -->
```python
two = one + 1
```

1. a list
   <!-- run: not=needs a lawn -->
   ```sh
   mow
   ```

<!-- run: until=a, b -->
```python
four()
```

<!-- run: by=tests/py/test_demo.py -->
```python
five()
```

```
{six}
```

~~~text
```
~~~
"""


def test_every_fence_is_a_block(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    blocks = read_blocks(page)
    languages = ["python", "python", "sh", "python", "python", "", "text"]
    assert [block.language for block in blocks] == languages
    assert [block.line for block in blocks] == [3, 8, 14, 19, 24, 28, 32]
    assert blocks[2].text == "mow\n"
    assert blocks[2].reason == "needs a lawn"
    assert blocks[4].by == "tests/py/test_demo.py"
    assert blocks[-1].text == "```\n"


def test_blocks_become_programs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    python = programs([block for block in read_blocks(page) if block.language == "python"])
    assert [block.text for block in python[:2]] == ["one = 1\n\ntwo = one + 1\n", "four()\n"]
    assert [block.until for block in python[:2]] == [(), ("a", "b")]


def test_a_misspelt_mark_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run: untill=x -->\n```python\n```\n")
    with pytest.raises(ValueError, match="untill"):
        read_blocks(page)
