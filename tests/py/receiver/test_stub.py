"""The committed stub of the extension module is the one its bindings give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.sources

REPOSITORY = Path(__file__).parents[3]
PATTERNS = REPOSITORY / "src" / "cpp" / "python" / "stub_patterns.txt"
STUB = REPOSITORY / "src" / "py" / "tokenrelay" / "_core.pyi"


def test_the_stub_is_up_to_date(tmp_path: Path) -> None:
    fresh = tmp_path / "_core.pyi"
    command = [sys.executable, "-m", "nanobind.stubgen", "-q", "-m", "tokenrelay._core", "-P"]
    command += ["-p", str(PATTERNS), "-o", str(fresh)]
    subprocess.run(command, check=True)
    assert fresh.read_text() == STUB.read_text(), f"make it anew: {' '.join(command[:-1])} {STUB}"
