"""``tokenrelay login``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from tokenrelay.cli.options import AccountArgument, ConfigOption, read_config
from tokenrelay.cli.output import duration, note, time_of_day, write
from tokenrelay.sender.errors import ConfigurationError, SenderError

if TYPE_CHECKING:
    from tokenrelay.sender.authorization import AuthorizationRequest
    from tokenrelay.sender.callback_address import CallbackAddress
    from tokenrelay.sender.certificate import CallbackCertificate
    from tokenrelay.sender.config import Account
    from tokenrelay.sender.device import DeviceGrant
    from tokenrelay.sender.login import Login
    from tokenrelay.sender.tokens import TokenSet


def _parse_span(text: str) -> float:
    from tokenrelay.sender.config_values import parse_positive_duration

    try:
        return parse_positive_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def login(
    context: typer.Context,
    *,
    account: AccountArgument = None,
    paste: Annotated[
        bool, typer.Option("--paste", help="Paste the redirected address instead of a callback.")
    ] = False,
    device: Annotated[
        bool, typer.Option("--device", help="Show a code to enter on another device.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the browser.")
    ] = True,
    yes: Annotated[
        bool, typer.Option("--yes", help="Even if that ends a login that works.")
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="SPAN", help="How long to wait.")
    ] = "5m",
    config: ConfigOption = None,
) -> None:
    """Log in at the provider.

    Opens the provider's page in the browser and takes the callback at redirect_uri, on this
    machine; for https with a certificate made for this login. A running sender feeds the new
    token to every receiver, with nothing restarted.

    \b
    Example:
      tokenrelay login schwab
      tokenrelay login schwab --paste        # no browser reaches this machine
    """
    if paste and device:
        raise typer.BadParameter("--paste and --device: choose one of them")
    patience = _parse_span(timeout)
    one = read_config(context, config).select(account)
    started = _start(one)
    _warn_of_the_old_one(started, yes=yes)
    started.prepare()
    if device:
        token = _by_device(started, patience)
    elif paste:
        token = _by_paste(started, patience, browser=browser)
    else:
        token = _by_callback(started, patience, browser=browser)
    _report(one, token)


def _start(account: Account) -> Login:
    from tokenrelay.sender.clock import SystemClock
    from tokenrelay.sender.login import Login
    from tokenrelay.sender.oauth import TokenEndpoint
    from tokenrelay.sender.vault import Vault

    clock = SystemClock()
    vault = Vault.of(account)
    return Login(account, TokenEndpoint(account, clock=clock), vault, clock=clock, note=note)


def _warn_of_the_old_one(login: Login, *, yes: bool) -> None:
    from tokenrelay.sender.attempt import login_end
    from tokenrelay.sender.presets import ONE_LOGIN_ONLY

    account, old = login.account, login.working()
    if old is None or account.provider not in ONE_LOGIN_ONLY:
        return
    end = login_end(old, account)
    until = f" until {time_of_day(end)} ({duration(end - time.time())} left)" if end else ""
    note(
        f"{account.name} has a login that works{until}. {account.provider} ends it when you log in "
        "again: from then on programs need the new one, which a running sender brings them."
    )
    if yes:
        return
    if not sys.stdin.isatty():
        raise SenderError(
            f"nothing was done. If you mean it: tokenrelay login {account.name} --yes"
        )
    if not typer.confirm("Log in again now?", err=True):
        raise SenderError("nothing was done; the old login is as it was")


def _request(login: Login) -> AuthorizationRequest:
    import anyio

    from tokenrelay.sender.authorization import authorization_request

    account = login.account
    if account.redirect_uri is None:
        raise ConfigurationError(
            f"accounts.{account.name}.redirect_uri: missing: the callback that is registered with "
            'the provider, to the letter, as "http://127.0.0.1:8182/callback"'
        )
    authorize_url = anyio.run(login.locate, "authorize_url")
    return authorization_request(account, authorize_url, account.redirect_uri)


def _by_callback(login: Login, patience: float, *, browser: bool) -> TokenSet:
    from functools import partial

    import anyio

    from tokenrelay.sender.browser_login import BrowserLogin
    from tokenrelay.sender.certificate import make_certificate

    request = _request(login)
    address = _callback_address(login.account.name, request.redirect_uri)
    certificate = make_certificate(address.host) if address.secure else None
    run = partial(
        BrowserLogin(login, request, note=note).run,
        address,
        certificate.context if certificate else None,
        patience=patience,
        ready=partial(
            _invite,
            login.account,
            request,
            address,
            certificate,
            browser=browser,
            patience=patience,
        ),
    )
    return anyio.run(run)


def _callback_address(account: str, redirect_uri: str) -> CallbackAddress:
    from tokenrelay.sender.callback_address import callback_address

    try:
        return callback_address(redirect_uri)
    except ValueError as error:
        raise ConfigurationError(
            f"accounts.{account}.redirect_uri: {error}. Register one on 127.0.0.1, or: "
            f"tokenrelay login {account} --paste"
        ) from None


def _invite(
    account: Account,
    request: AuthorizationRequest,
    address: CallbackAddress,
    certificate: CallbackCertificate | None,
    *,
    browser: bool,
    patience: float,
) -> None:
    opened = _show(request.url, browser=browser)
    if certificate is not None:
        note(
            f"\nThen the browser warns of the certificate of {address.origin}, made for this "
            "login alone.\nGo on (Advanced, then Proceed) if its SHA-256 fingerprint is\n"
            f"  {certificate.fingerprint}"
        )
    if not opened:
        _note_other_ways(account)
    limit = duration(patience)
    note(f"\nWaiting for the callback at {request.redirect_uri}, at most {limit} …")


def _note_other_ways(account: Account) -> None:
    """Over ssh the browser would look for the callback on its own machine."""
    device = ", or --device" if account.device_url or account.issuer else ""
    note(
        "\nOnly a browser of this machine reaches the callback. Where there is none: Ctrl-C, "
        f"then\n  tokenrelay login {account.name} --paste{device}"
    )


def _by_paste(login: Login, patience: float, *, browser: bool) -> TokenSet:
    import anyio

    from tokenrelay.sender.pasted import read_pasted

    request = _request(login)
    _show(request.url, browser=browser)
    note(
        f"\nAfter the login the browser goes to {request.redirect_uri} and shows an error, since "
        "nothing answers there.\nCopy the whole address from its address bar at once, paste it "
        "here and press Enter:"
    )
    code = read_pasted(request, descriptor=sys.stdin.fileno(), patience=patience, note=note)
    return anyio.run(login.redeem, request.token_form(code))


def _by_device(login: Login, patience: float) -> TokenSet:
    from functools import partial

    import anyio

    from tokenrelay.sender.clock import SystemClock
    from tokenrelay.sender.device import device_login

    run = partial(
        device_login,
        login,
        show=_show_code,
        patience=patience,
        clock=SystemClock(),
        sleep=anyio.sleep,
    )
    return anyio.run(run)


def _show(url: str, *, browser: bool) -> bool:
    """Whether a browser was asked to open the address, which is printed in any case."""
    from tokenrelay.cli.browser import open_browser

    opened = browser and open_browser(url)
    note(
        "Log in on the page that opens in your browser, or open:" if opened else "Open and log in:"
    )
    note(f"\n  {url}")
    return opened


def _show_code(grant: DeviceGrant) -> None:
    note(f"On any device open\n\n  {grant.verification_uri}\n\nand enter  {grant.user_code}")
    if grant.complete_uri:
        note(f"\nor open, with the code in it:\n\n  {grant.complete_uri}")
    note(f"\nWaiting; the code is good for {duration(grant.expires_in)} …")


def _report(account: Account, token: TokenSet) -> None:
    from tokenrelay.cli.takeover import tell_sender

    now = time.time()
    text = f"{account.name}: logged in; the token is valid for {duration(token.expires_at - now)}"
    if token.grant_expires_at is not None:
        left = duration(token.grant_expires_at - now)
        text += f", the login until {time_of_day(token.grant_expires_at)} ({left})"
    write(text)
    if token.refresh_token is None:
        note(
            "The provider granted no refresh token: the login ends with this access token. Many "
            "want the scope offline_access, or access_type=offline in authorize_url."
        )
    note(tell_sender(account, token))
