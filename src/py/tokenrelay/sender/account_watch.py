"""Turns what changes in an account into events: logged, and told to `on_event`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from tokenrelay.sender import warnings

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from tokenrelay.sender.clock import Clock
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.events import EventName
    from tokenrelay.sender.outlet import ReceiverState
    from tokenrelay.sender.refresher_state import RefresherState

LOOK_SECONDS = 2.0
FAILING = 2  # one failed refresh is no news


class AccountWatch:
    """Compares an account with how it was. For the event loop's thread.

    ``notify`` gets each event once: it must not block.
    """

    def __init__(
        self,
        account: Account,
        *,
        state: Callable[[], RefresherState],
        receivers: Callable[[], tuple[ReceiverState, ...]],
        notify: Callable[[EventName], None],
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._account, self._clock, self._log = account, clock, log
        self._state, self._receivers, self._notify = state, receivers, notify
        self._refreshes = 0
        self._failing = self._over = False
        self._plan: warnings.WarningPlan | None = None
        self._said: float | None = None
        self._connected: dict[str, str] = {}

    @property
    def warning(self) -> str | None:
        """What `status` shows of the login's end."""
        return warnings.describe(self._account.name, self._make_plan(), self._clock.wall())

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await anyio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Tell what has changed since the last look."""
        state = self._state()
        self._look_at_refreshes(state)
        self._look_at_login(state)
        self._look_at_receivers()

    def _look_at_refreshes(self, state: RefresherState) -> None:
        if state.refreshes > self._refreshes:
            self._notify("token_refreshed")
        self._refreshes = state.refreshes
        failing = state.phase == "retrying" and state.failures >= FAILING
        if failing and not self._failing:
            self._log.warning("refresh failing", error=state.last_error, failures=state.failures)
            self._notify("refresh_failing")
        self._failing = failing

    def _look_at_login(self, state: RefresherState) -> None:
        plan, now = self._make_plan(), self._clock.wall()
        if plan != self._plan:
            self._plan, self._said = plan, None
        refused = state.phase in ("login_needed", "lost_rotation")
        over = refused or (plan is not None and now >= plan.end)
        if over and not self._over:
            self._warn("login over", state.last_error if refused else self.warning)
            self._notify("login_over")
        self._over = over
        due = plan.due(now) if plan is not None and not over else None
        if due is not None and (self._said is None or due > self._said):
            self._said = due
            self._warn("login ends soon", self.warning)
            self._notify("login_ends_soon")

    def _look_at_receivers(self) -> None:
        connected = {one.path: one.program or "" for one in self._receivers() if one.connected}
        for path in self._connected.keys() - connected.keys():
            self._log.info("receiver lost", path=path, program=self._connected[path])
            self._notify("receiver_lost")
        self._connected = connected

    def _make_plan(self) -> warnings.WarningPlan | None:
        token = self._state().token
        if token is None:
            return None
        return warnings.plan_for(self._account, token, token.grant_expires_at)

    def _warn(self, event: str, cause: str | None) -> None:
        self._log.warning(event, detail=cause, type=f"tokenrelay login {self._account.name}")
