"""Every state in which a power cut may leave the disk during a refresh.

The file operations of a real refresh are recorded. What fsync(2) has not covered at the moment of
the cut may be on the disk or not, each operation by itself, a write also by half (Pillai et al.,
OSDI 2014). In each such state the vault must find the old token or the new one.
"""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast
from unittest.mock import patch

import anyio

from tokenrelay.sender.config import load_config
from tokenrelay.sender.errors import VaultError
from tokenrelay.sender.journal import pending_intent
from tokenrelay.sender.oauth_response import Outcome, classify
from tokenrelay.sender.tokens import TokenSet
from tokenrelay.sender.vault import Vault

from . import known_bad
from .laboratory import CONFIGURATION
from .login import Login
from .refreshing import refresher_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "token.json"
Kind = Literal["create", "rename", "unlink", "write", "resize", "sync", "sync directory", "spent"]
DIRECTORY_KINDS = ("create", "rename", "unlink")


@dataclass(frozen=True, slots=True)
class Operation:
    """``file`` numbers the file it is about; ``name`` is where, ``target`` where to."""

    kind: Kind
    file: int = -1
    name: str = ""
    target: str = ""
    offset: int = 0
    content: bytes = b""


@dataclass(slots=True)
class Recorder:
    """Operations of this process below ``folder``, in order, after they succeeded."""

    folder: Path
    operations: list[Operation] = field(default_factory=list)
    _files: dict[int, int] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _next: int = 0

    def note(self, kind: Kind, file: int = -1, **details: Any) -> None:
        self.operations.append(Operation(kind, file, **details))

    @contextmanager
    def recording(self) -> Iterator[None]:
        with ExitStack() as stack:
            for name in ("open", "pwrite", "ftruncate", "posix_fallocate", "fsync", "rename",
                         "unlink"):  # fmt: skip
                replacement = self._wrapper(getattr(os, name), getattr(self, f"_after_{name}"))
                stack.enter_context(patch.object(os, name, replacement))
            yield

    def _wrapper(self, function: Any, after: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            after(result, *arguments)
            return result

        return call

    def _after_open(self, descriptor: int, path: Any, flags: int = 0, *_: Any) -> None:
        if Path(path).parent == self.folder and flags & os.O_EXCL:
            self._next += 1
            self._names[Path(path).name] = self._files[descriptor] = self._next
            self.note("create", self._next, name=Path(path).name)
        elif Path(path) == self.folder:
            self._files[descriptor] = 0
        else:
            self._files.pop(descriptor, None)

    def _after_pwrite(self, written: int, descriptor: int, data: Any, offset: int) -> None:
        content = bytes(data[:written])
        self.note("write", self._files[descriptor], offset=offset, content=content)

    def _after_ftruncate(self, _: None, descriptor: int, length: int) -> None:
        self.note("resize", self._files[descriptor], offset=length)

    def _after_posix_fallocate(self, _: None, descriptor: int, start: int, length: int) -> None:
        self.note("resize", self._files[descriptor], offset=start + length)

    def _after_fsync(self, _: None, descriptor: int) -> None:
        file = self._files[descriptor]
        self.note("sync directory" if file == 0 else "sync", file)

    def _after_rename(self, _: None, source: Any, target: Any) -> None:
        file = self._names.pop(Path(source).name)
        self._names[Path(target).name] = file
        self.note("rename", file, name=Path(source).name, target=Path(target).name)

    def _after_unlink(self, _: None, path: Any, **__: Any) -> None:
        self.note("unlink", name=Path(path).name)


Disk = dict[str, bytes]


def disks_after_cut(before: Disk, operations: list[Operation]) -> Iterator[Disk]:
    """What the directory may hold if the power fails behind the last of ``operations``."""
    choices = [_outcomes(operation, operations[index:])
               for index, operation in enumerate(operations)]  # fmt: skip
    for chosen in itertools.product(*choices):
        yield _apply(before, [operation for operation in chosen if operation is not None])


def _outcomes(operation: Operation, later: list[Operation]) -> list[Operation | None]:
    if operation.kind in ("sync", "sync directory", "spent"):
        return [None]
    if operation.kind in DIRECTORY_KINDS:
        durable = any(one.kind == "sync directory" for one in later)
    else:
        durable = any(one.kind == "sync" and one.file == operation.file for one in later)
    if durable:
        return [operation]
    if operation.kind == "write":
        half = operation.content[: len(operation.content) // 2]
        torn = Operation("write", operation.file, offset=operation.offset, content=half)
        return [None, torn, operation]
    return [None, operation]


def _apply(before: Disk, operations: list[Operation]) -> Disk:
    contents: dict[int, bytes] = {}
    names: dict[str, bytes | int] = dict(before)
    for operation in operations:
        content = contents.get(operation.file, b"")
        match operation.kind:
            case "create":
                names[operation.name] = operation.file
            case "rename":
                names.pop(operation.name, None)
                names[operation.target] = operation.file
            case "unlink":
                names.pop(operation.name, None)
            case "write":
                content = content.ljust(operation.offset, b"\0")
                end = operation.offset + len(operation.content)
                contents[operation.file] = (
                    content[: operation.offset] + operation.content + content[end:]
                )
            case "resize":
                contents[operation.file] = content[: operation.offset].ljust(
                    operation.offset, b"\0"
                )
    return {
        name: file if isinstance(file, bytes) else contents.get(file, b"")
        for name, file in names.items()
    }


@dataclass(slots=True)
class CutReport:
    """``violations`` say at which operation which promise broke."""

    operations: int = 0
    disks: int = 0
    distinct: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (f"{self.operations} operations, {self.disks} disks, {self.distinct} distinct; "
                f"violations: {'; '.join(self.violations) or 'none'}")  # fmt: skip


def cut_power(*, variant: str | None = None) -> CutReport:
    """Cuts the power behind every operation of one refresh; ends with the first violation."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        before, operations, old, new = _record(Path(folder), variant)
    report = CutReport(operations=len(operations))
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        for end in range(len(operations) + 1):
            _judge(report, before, operations, end, (old, new), Path(folder))
            if report.violations:
                break
    return report


def _record(folder: Path, variant: str | None) -> tuple[Disk, list[Operation], TokenSet, TokenSet]:
    config = folder / "config" / "tokenrelay.toml"
    config.parent.mkdir()
    place = folder / "tokens"
    url = "http://127.0.0.1:1/token"
    config.write_text(CONFIGURATION.format(url=url, file=place / NAME, grace="10"))
    account = load_config(config).select()
    vault, login = Vault(place / NAME), Login("power", 10.0)
    first: dict[str, Any] = login.tokens()
    old = vault.store(TokenSet(first["access_token"], 4_102_444_800, first["refresh_token"]))
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    recorder = Recorder(place)

    async def answer(refresh_token: str, **_: float) -> Outcome:
        recorder.note("spent")
        login.refresh(refresh_token, 0.0)
        return classify(200, {}, json.dumps(login.tokens()).encode(), 0.0)

    refresher = refresher_of(account, lambda _: None)
    endpoint = SimpleNamespace(refresh=answer, endpoints=SimpleNamespace(token_url=None))
    refresher._spender._endpoint = cast("Any", endpoint)

    async def refresh() -> None:
        await refresher.refresh_now(reason="test")

    with recorder.recording(), known_bad.applied(variant):
        anyio.run(refresh)
    new = vault.load()
    assert new is not None
    return before, recorder.operations, old, new


def _judge(
    report: CutReport, before: Disk, operations: list[Operation], end: int,
    tokens: tuple[TokenSet, TokenSet], folder: Path,
) -> None:  # fmt: skip
    done = operations[:end]
    spent = any(operation.kind == "spent" for operation in done)
    durable = end == len(operations)
    seen: set[tuple[tuple[str, bytes], ...]] = set()
    for disk in disks_after_cut(before, done):
        report.disks += 1
        key = tuple(sorted(disk.items()))
        if key in seen:
            continue
        seen.add(key)
        if cause := _violation(disk, folder, tokens, spent=spent, durable=durable):
            report.violations.append(f"{cause}, cut behind operation {end}")
            break
    report.distinct += len(seen)


def _violation(
    disk: Disk, folder: Path, tokens: tuple[TokenSet, TokenSet], *, spent: bool, durable: bool
) -> str | None:
    old, new = tokens
    for path in folder.iterdir():
        path.unlink()
    for name, content in disk.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(content)
    vault = Vault(folder / NAME)
    try:
        found = vault.load()
    except VaultError:
        return "token file unusable"
    if found is None or found.refresh_token not in (old.refresh_token, new.refresh_token):
        return "neither old nor new"
    if found.refresh_token == new.refresh_token:
        return None
    if durable:
        return "old again after the refresh had ended"
    if spent and pending_intent(vault.load_journal(), found) is None:
        return "spent without a trace"
    return None
