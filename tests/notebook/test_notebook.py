"""The notebook recipe in a real kernel, its first cell run twice."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pytest

from support.documents import blocks_of
from support.raw_sender import deliver

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "secret-of-the-notebook"

# Of Jupyter's own.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The runtime directory of the kernel."""
    with tempfile.TemporaryDirectory(prefix="relay-", dir="/tmp") as root:
        monkeypatch.setenv("TOKENRELAY_RUNTIME_DIR", root)
        yield Path(root)


def text_of(cell: Any) -> str:
    return "".join(output["data"]["text/plain"] for output in cell["outputs"])


def test_a_receiver_lives_in_a_notebook(runtime: Path) -> None:
    start, read = (block.text for block in blocks_of(__file__).values())
    waiting = "(await receiver.next(timeout=10)).generation"
    cells = [nbformat.v4.new_code_cell(text) for text in (start, start, read, waiting)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3")
    with client.setup_kernel():
        client.execute_cell(cells[0], 0)
        client.execute_cell(cells[1], 1)
        (socket,) = runtime.glob("schwab/[!.]*.sock")  # the second run's: the first was stopped
        deliver(str(socket), SECRET)
        client.execute_cell(cells[2], 2)
        client.execute_cell(cells[3], 3)
    assert "Token" in text_of(cells[2])
    assert text_of(cells[3]) == "1"
    assert SECRET not in nbformat.writes(notebook)
