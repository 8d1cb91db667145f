"""How code is found in a Markdown page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from markdown_code import programs, read_blocks

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
   <!-- run -->
   ```sh
   echo three
   ```

<!-- run: until=a, b -->
```python
four()
```

<!-- run: by=tests/py/test_demo.py -->
```python
five()
```

```text
six
```
"""


def test_blocks_become_programs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    blocks = read_blocks(page)
    assert [block.language for block in blocks] == [
        "python",
        "python",
        "sh",
        *["python"] * 2,
        "text",
    ]
    assert [block.line for block in blocks] == [3, 8, 14, 19, 24, 28]
    python = programs(blocks, "python")
    assert [block.text for block in python] == ["one = 1\n\ntwo = one + 1\n", "four()\n"]
    assert [block.until for block in python] == [(), ("a", "b")]
    shell = programs(blocks, "sh")
    assert [(block.text, block.marked) for block in shell] == [("echo three\n", True)]
    assert blocks[4].by == "tests/py/test_demo.py"


def test_a_misspelt_mark_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run: untill=x -->\n```python\n```\n")
    with pytest.raises(ValueError, match="untill"):
        read_blocks(page)
