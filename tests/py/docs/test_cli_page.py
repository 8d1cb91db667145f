"""The page and the manual page of the command line are what the commands say."""

from __future__ import annotations

import importlib.util

import pytest

from support.documents import DOCS


@pytest.mark.parametrize("writer", ["cli.py", "man.py"])
def test_the_page_is_up_to_date(writer: str) -> None:
    spec = importlib.util.spec_from_file_location("page_writer", DOCS / writer)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.PAGE.read_text()
    assert written == module.page(), f"the commands have changed. Type: python docs/{writer}"
