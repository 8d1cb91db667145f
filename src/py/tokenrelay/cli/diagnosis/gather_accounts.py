"""Finds the facts of one account."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from tokenrelay.cli.diagnosis.facts import AccountFacts, CallbackFacts, LoginFacts
from tokenrelay.cli.diagnosis.system import describe_path, listener_of, lock_holder
from tokenrelay.sender import warnings
from tokenrelay.sender.attempt import login_end
from tokenrelay.sender.callback_address import callback_address
from tokenrelay.sender.errors import TokenFileDamaged, VaultError
from tokenrelay.sender.tokens import fingerprint
from tokenrelay.sender.vault import Vault

if TYPE_CHECKING:
    from tokenrelay.sender.config import Account


def gather_account(account: Account) -> AccountFacts:
    """One account, its provider and its receivers excepted."""
    hook = account.on_event[0] if account.on_event else None
    places = {path.parent for path in (*account.sockets, *account.mirror)}
    return AccountFacts(
        name=account.name,
        login=_gather_login(account),
        callback=_gather_callback(account),
        timeout=account.timeout,
        rotation_grace=account.rotation_grace,
        hook=hook,
        hook_found=hook is None or shutil.which(hook) is not None,
        missing_directories=tuple(sorted(str(path) for path in places if not path.is_dir())),
    )


def _gather_login(account: Account) -> LoginFacts:
    path, vault = account.token_file, Vault.of(account)
    token, error, damaged = None, None, False
    try:
        token = vault.load()
    except VaultError as problem:
        error, damaged = str(problem), isinstance(problem, TokenFileDamaged)
    refusal = vault.load_journal().refusal
    dead = (
        token is not None
        and refusal is not None
        and (refusal.fingerprint == fingerprint(token.refresh_token or ""))
    )
    end = None if token is None else login_end(token, account)
    plan = None if token is None else warnings.plan_for(account, token, end)
    return LoginFacts(
        file=describe_path(path),
        directory=describe_path(path.parent),
        directory_writable=os.access(path.parent, os.W_OK | os.X_OK),
        error=error,
        damaged=damaged,
        expires_at=None if token is None else token.expires_at,
        login_end=end,
        login_warning=warnings.describe(account.name, plan, time.time()),
        refusal=refusal.detail if refusal is not None and dead else None,
        lock_holder=lock_holder(path.with_name(f"{path.name}.lock")),
    )


def _gather_callback(account: Account) -> CallbackFacts:
    uri = account.redirect_uri
    if uri is None:
        return CallbackFacts(None)
    try:
        address = callback_address(uri)
    except ValueError as error:
        return CallbackFacts(uri, problem=str(error))
    taken, holder = listener_of(address.port)
    return CallbackFacts(uri, taken=taken, holder=holder)
