"""The page of the command line is what the commands say."""

from __future__ import annotations

import importlib.util

from pages import DOCS


def test_the_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("cli_page", DOCS / "cli.py")
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    written = writer.PAGE.read_text()
    assert written == writer.page(), "the commands have changed. Type: python docs/cli.py"
