"""What must outlive a crash of the refreshing process, kept beside the token file: which refresh
token may be spent already, which is refused for good, and how often we asked lately."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tokenrelay.sender.tokens import fingerprint

if TYPE_CHECKING:
    from tokenrelay.sender.clock import Clock
    from tokenrelay.sender.tokens import TokenSet

KEPT_SECONDS = 3600.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Intent(msgspec.Struct, frozen=True):
    """A refresh token, by fingerprint, is about to be sent, or was sent with no clear answer."""

    fingerprint: str
    wall: float
    boot: float
    boot_id: str

    def age(self, clock: Clock) -> float:
        """Seconds since then; by the wall clock only if the machine may have been started anew."""
        if is_this_boot(self.boot_id):
            return clock.boot() - self.boot
        return max(0.0, clock.wall() - self.wall)


class Pause(msgspec.Struct, frozen=True):
    """The provider asked, at that moment, to wait ``seconds`` (Retry-After)."""

    seconds: float
    wall: float
    boot: float
    boot_id: str

    def left(self, clock: Clock) -> float:
        """Seconds still to wait, 0 once it is over. A clock that was set does not prolong it; one
        that is behind after a start of the machine says nothing, and ends it."""
        if is_this_boot(self.boot_id):
            passed = clock.boot() - self.boot
        else:
            passed = clock.wall() - self.wall
        return max(0.0, self.seconds - passed) if passed >= 0 else 0.0


class Refusal(msgspec.Struct, frozen=True):
    """The provider takes this refresh token no more."""

    fingerprint: str
    lost_rotation: bool
    detail: str


class Journal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. ``requests`` are Unix times of the last hour's."""

    version: int = 1
    requests: tuple[float, ...] = ()
    pause: Pause | None = None
    intent: Intent | None = None
    refusal: Refusal | None = None

    def replace(self, **changes: object) -> Journal:
        """A copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)

    def with_request(self, wall: float) -> Journal:
        """One more request, without those too old, or too new after a clock set back."""
        recent = (at for at in self.requests if wall - KEPT_SECONDS < at <= wall)
        return self.replace(requests=(*recent, wall))

    def without_last_request(self) -> Journal:
        """The last one never left this machine."""
        return self.replace(requests=self.requests[:-1])


def encode_journal(journal: Journal) -> bytes:
    return msgspec.json.encode(journal) + b"\n"


def decode_journal(content: bytes) -> Journal:
    """ValueError for anything that is no journal."""
    try:
        return msgspec.json.decode(content, type=Journal)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


def current_boot_id() -> str:
    """Changes with every start of the machine (proc(5)); empty where there is none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def is_this_boot(boot_id: str) -> bool:
    """Whether ``boot_id`` is known, and of this start of the machine: else times since boot say
    nothing, and after a start soon look like the future."""
    return boot_id != "" and boot_id == current_boot_id()


def recoverable(journal: Journal, token: TokenSet, grace: float, clock: Clock) -> bool:
    """Whether an answer may have been lost that can still be asked for again: the provider takes
    a replaced refresh token for ``grace`` seconds more."""
    intent = pending_intent(journal, token)
    return intent is not None and intent.age(clock) < grace


def pending_intent(journal: Journal, token: TokenSet) -> Intent | None:
    """The intent of an earlier attempt on the same refresh token, whose answer never came."""
    intent = journal.intent
    if intent is None or token.refresh_token is None:
        return None
    return intent if intent.fingerprint == fingerprint(token.refresh_token) else None
