"""A login whose callback comes to this machine, in a browser of this machine."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio

from tokenrelay.sender.authorization import LoginRefused, NotOurCallback, read_callback
from tokenrelay.sender.callback import CallbackServer
from tokenrelay.sender.callback_page import Page
from tokenrelay.sender.errors import SenderError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tokenrelay.sender.authorization import AuthorizationRequest
    from tokenrelay.sender.callback_address import CallbackAddress
    from tokenrelay.sender.login import Login
    from tokenrelay.sender.tokens import TokenSet

PROGRESS_SECONDS = 60.0


class BrowserLogin:
    """Waits for one callback, redeems its code before the browser is answered."""

    def __init__(
        self, login: Login, request: AuthorizationRequest, *, note: Callable[[str], None]
    ) -> None:
        self._login, self._request, self._note = login, request, note
        self._token: TokenSet | None = None
        self._error: SenderError | None = None
        self._page: Page | None = None
        self._busy = anyio.Lock()

    async def run(
        self,
        address: CallbackAddress,
        context: ssl.SSLContext | None,
        *,
        patience: float,
        ready: Callable[[], None],
    ) -> TokenSet:
        """The stored login. ``ready`` is called once the callback can be answered."""
        server = CallbackServer(address, context=context, answer=self.answer, note=self._note)
        async with server.listening():
            ready()
            with anyio.move_on_after(patience):
                async with anyio.create_task_group() as group:
                    group.start_soon(self._report_progress, patience)
                    await server.decided()
                    group.cancel_scope.cancel()
        if self._error is not None:
            raise self._error
        if self._token is None:
            limit = f"{patience / 60:.0f} min" if patience >= 60 else f"{patience:g} s"
            raise SenderError(
                f"no callback came to {self._request.redirect_uri} within {limit}. "
                "Is that what is registered with the provider, to the letter? Where no browser can "
                f"reach this machine: tokenrelay login {self._login.account.name} --paste"
            )
        return self._token

    async def answer(self, query: str) -> Page:
        """What the browser is shown for a callback with this query."""
        async with self._busy:
            if self._page is not None:  # a page that was loaded twice
                return self._page
            try:
                code = read_callback(query, self._request)
                self._token = await self._login.redeem(self._request.token_form(code))
            except NotOurCallback as error:
                self._note(f"A callback was ignored: {error}")
                return Page(HTTPStatus.BAD_REQUEST, "Not this login", f"Ignored: {error}.")
            except SenderError as error:
                self._error, self._page = error, _refusal(error)
            else:
                self._page = _success(self._login.account.name)
            return self._page

    async def _report_progress(self, patience: float) -> None:
        left = patience
        while left > PROGRESS_SECONDS:
            await anyio.sleep(PROGRESS_SECONDS)
            left -= PROGRESS_SECONDS
            self._note(f"Still waiting for the browser; {left / 60:.0f} min left")


def _success(account: str) -> Page:
    text = f"The account {account} is logged in and its token is saved."
    return Page(HTTPStatus.OK, "Logged in", text, "You can close this page.", final=True)


def _refusal(error: SenderError) -> Page:
    status = HTTPStatus.FORBIDDEN if isinstance(error, LoginRefused) else HTTPStatus.BAD_GATEWAY
    text = f"{error}"
    text = f"{text[:1].upper()}{text[1:]}"
    hint = "The terminal where you began the login says what to do."
    return Page(status, "Not logged in", text, hint, final=True)
