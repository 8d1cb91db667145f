"""Every configuration of the documents loads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from support.documents import DOCS, blocks_of, for_each
from tokenrelay.paths import Environment
from tokenrelay.sender.config import load_config
from tokenrelay.sender.config_tables import AccountTable, SenderSettings

if TYPE_CHECKING:
    from support.markdown_code import Block

ACCOUNT = """\
[accounts.schwab]
provider = "schwab"
client_id = "key"
client_secret = "secret"
"""


@for_each(blocks_of(__file__))
def test_a_configuration_loads(block: Block, short_path: Path) -> None:
    for name in re.findall(
        r'client_secret_file = "(?:~|\$CREDENTIALS_DIRECTORY)/(.*?)"', block.text
    ):
        secret = short_path / name
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.touch(mode=0o600)
        secret.write_text("secret")
    path = short_path / "tokenrelay.toml"
    path.touch(mode=0o600)
    path.write_text(_whole_configuration(block.text))
    variables = {"CREDENTIALS_DIRECTORY": str(short_path)}
    load_config(path, Environment(variables, 1000, short_path, Path.is_dir))


def _whole_configuration(text: str) -> str:
    if "client_id" in text:
        return text
    account = ACCOUNT
    if "client_secret_file" in text:
        account = account.replace('client_secret = "secret"\n', "")
    return account + text.replace("[accounts.schwab]\n", "")


@pytest.mark.parametrize(
    ("heading", "table"), [("[accounts.NAME]", AccountTable), ("[sender]", SenderSettings)]
)
def test_the_page_has_every_key_with_its_default(heading: str, table: type[msgspec.Struct]) -> None:
    page = (DOCS / "configuration.md").read_text()
    section = page.partition(f"## `{heading}`")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \| (.*) \|$", section, re.MULTILINE)
    keys = {key for row in rows for key in re.findall(r"`([a-z_]+)`", row[0])}
    variants = {key for row in rows for key in re.findall(r"`(client_[a-z_]+)`", row[2])}
    assert keys | variants == set(table.__struct_fields__)
    told = {row[0].strip("`"): row[1] for row in rows}
    for field in msgspec.structs.fields(table):
        factory = field.default_factory
        default = field.default if factory is msgspec.NODEFAULT else factory()
        if default is not None and field.name in told:
            assert told[field.name] == f"`{json.dumps(default)}`", field.name
