"""Years of refreshes on a clock that runs as fast as it is read.

The refresher, its vault and its journal are the real ones, on files; only the wire to the provider
is simulated: answers get lost, gateways fail, and the process dies between request and answer.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import anyio
from anyio.lowlevel import checkpoint

from tokenrelay.sender import attempt
from tokenrelay.sender.config import Account, load_config
from tokenrelay.sender.errors import VaultError
from tokenrelay.sender.oauth_response import Outcome, classify, lost_answer
from tokenrelay.sender.refresher import Refresher
from tokenrelay.sender.tokens import TokenSet
from tokenrelay.sender.vault import Vault

from . import known_bad
from .laboratory import CONFIGURATION
from .login import Login, number_of
from .refreshing import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenrelay.sender.oauth import TokenEndpoint

EPOCH, DAY = 1_700_000_000.0, 86400.0
PROMISES = ("superseded token sent", "token sent after its refusal", "file unreadable",
            "published before durable", "serial went back", "no refresh for a day")  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """What the simulation is like. The rates are per request; ``grace`` is the provider's and
    what the configuration says of it, in seconds."""

    refreshes: int
    seed: int
    grace: float = 10.0
    lost_answers: float = 0.05
    gateway_errors: float = 0.005
    unreachable: float = 0.005
    crashes: float = 0.001
    refresh_every: int = 120


@dataclass(slots=True)
class Report:
    """What happened. ``logins_lost`` counts by the phase the refresher then showed."""

    events: Counter[str] = field(default_factory=Counter)
    logins_lost: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    years: float = 0.0

    def sound(self, world: World) -> bool:
        """No promise broken; no login lost but to an answer lost without grace, and known as
        such."""
        unknown = self.logins_lost.total() - self.logins_lost["lost_rotation"]
        allowed = not self.logins_lost if world.grace else not unknown
        return allowed and not self.broken.total()

    def __str__(self) -> str:
        def told(counter: Counter[str]) -> str:
            return ", ".join(f"{name} {number}" for name, number in sorted(counter.items())) or "0"

        broken = ", ".join(f"{self.broken[name]} {name}" for name in PROMISES)
        return (f"{told(self.events)}; simulated {self.years:.2f} years\n"
                f"logins lost: {told(self.logins_lost)}\n{broken}")  # fmt: skip


class CrashError(Exception):
    """The process dies here."""


class FinishedError(Exception):
    """Enough refreshes."""


class Simulation:
    """One world from its first login to its last refresh."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.report = world, Report()
        self._random = Random(world.seed)
        self._wall, self._boot = EPOCH, 1000.0
        self._renewed = self._boot
        self._path = folder / "token.json"
        config = folder / "tokenrelay.toml"
        url = "http://127.0.0.1:1/token"
        lines = CONFIGURATION.format(url=url, file=self._path, grace=world.grace)
        config.write_text(f'{lines}refresh_every = "{world.refresh_every}s"\n')
        self._account: Account = load_config(config).select()
        self._refused: set[str] = set()
        self._logins = self._serial = 0
        self._log_in()

    # The clock.
    def wall(self) -> float:
        return self._wall

    def boot(self) -> float:
        return self._boot

    def _advance(self, seconds: float) -> None:
        self._wall += seconds
        self._boot += seconds

    async def sleep(self, seconds: float) -> None:
        # No timer wakes sooner; a wall clock kept as a float could not even count it.
        self._advance(max(seconds, 0.001))
        await checkpoint()
        if self._login.revoked and self._refresher.state.phase != "ok":
            self._count_lost_login()
        if self._boot - self._renewed > DAY:
            self.report.broken["no refresh for a day"] += 1
            raise FinishedError
        if self.report.events["refreshed"] >= self.world.refreshes:
            raise FinishedError

    # The life of the sender.
    async def run(self) -> Report:
        while True:
            self._refresher = self._start()
            try:
                await self._refresher.run()
            except CrashError:
                self._advance(self._random.uniform(0.1, 3.0))  # until systemd starts it again
            except BaseExceptionGroup as ended:
                if ended.subgroup(FinishedError) is None:
                    raise
                break
        self.report.years = (self._wall - EPOCH) / (365.25 * 86400)
        return self.report

    def _start(self) -> Refresher:
        return Refresher(
            self._account,
            self._vault(),
            cast("TokenEndpoint", self),
            publish=self._publish,
            clock=self,
            random=self._random,
            log=QUIET,
            sleep=self.sleep,
        )

    def _vault(self) -> Vault:
        return Vault(self._path, wall=self.wall)

    def _log_in(self) -> None:
        self._logins += 1
        self._login = Login(f"{self._logins:06}", self.world.grace)
        fields: dict[str, Any] = self._login.tokens()
        self._vault().store(TokenSet(
            fields["access_token"], int(self._wall) + 1800, fields["refresh_token"],
            issued_at=int(self._wall), granted_at=int(self._wall),
        ))  # fmt: skip

    def _count_lost_login(self) -> None:
        phase = self._refresher.state.phase
        if phase in ("lost_rotation", "login_needed"):
            self.report.logins_lost[phase] += 1
            self._log_in()

    # The wire.
    endpoints = SimpleNamespace(token_url=None)

    async def refresh(self, refresh_token: str, **_: float) -> Outcome:
        await checkpoint()
        self._advance(self._random.uniform(0.02, 0.4))
        self._check_request(refresh_token)
        fate = self._fate()
        if fate != "answered":
            self.report.events[fate] += 1
        if fate == "unreachable":
            return lost_answer("connection refused", sent=False)
        if fate == "gateway error":
            return classify(503, {}, b"", self._wall)
        granted = self._login.refresh(refresh_token, self._wall)
        if granted and fate in ("crash", "answer lost"):
            self.report.events["rotation lost"] += 1
        if fate == "crash":
            raise CrashError
        if fate == "answer lost":
            return lost_answer("connection reset", sent=True)
        if not granted:
            self._refused.add(refresh_token)
            return classify(400, {}, b'{"error": "invalid_grant"}', self._wall)
        self.report.events["refreshed"] += 1
        self._renewed = self._boot
        return classify(200, {}, json.dumps(self._login.tokens()).encode(), self._wall)

    def _fate(self) -> str:
        chance, world = self._random.random(), self.world
        for name, rate in (("answer lost", world.lost_answers), ("crash", world.crashes),
                           ("gateway error", world.gateway_errors),
                           ("unreachable", world.unreachable)):  # fmt: skip
            if chance < rate:
                return name
            chance -= rate
        return "answered"

    # The promises.
    def _check_request(self, refresh_token: str) -> None:
        stored = self._stored()
        if stored is not None and number_of(refresh_token) < number_of(stored.refresh_token or ""):
            self.report.broken["superseded token sent"] += 1
        if refresh_token in self._refused:
            self.report.broken["token sent after its refusal"] += 1

    def _publish(self, token: TokenSet) -> None:
        stored = self._stored()
        if stored is not None and stored.serial < token.serial:
            self.report.broken["published before durable"] += 1
        if token.serial < self._serial:
            self.report.broken["serial went back"] += 1
        self._serial = token.serial

    def _stored(self) -> TokenSet | None:
        stored = None
        with suppress(VaultError):
            stored = self._vault().load()
        if stored is None:
            self.report.broken["file unreadable"] += 1
        return stored


async def _at_once(function: Callable[..., object], *arguments: object, limiter: object) -> object:
    """Instead of a thread: nothing else waits for the loop, or for ``limiter``, here."""
    await checkpoint()
    return function(*arguments)


def simulate(world: World, *, variant: str | None = None) -> Report:
    """The whole of ``world``, with the mistake ``variant`` if one is named."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="reliability-", dir=place) as folder,
        known_bad.applied(variant),
        patch.object(attempt, "run_sync", _at_once),
    ):
        return anyio.run(Simulation(world, Path(folder)).run)
