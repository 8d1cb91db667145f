"""Judges one account: its login, its callback, its provider, its receivers. Pure."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from tokenrelay.cli.diagnosis.findings import Finding, fault, ok, warning
from tokenrelay.cli.diagnosis.unit_checks import systemctl, unit_of
from tokenrelay.cli.output import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenrelay.cli.diagnosis.facts import (
        AccountFacts,
        Facts,
        ProviderFacts,
        SocketFacts,
    )

CLOCK_TOLERANCE_SECONDS = 30.0


def check_account(account: AccountFacts, facts: Facts) -> Iterator[Finding]:
    yield from check_directory(account, facts.user)
    yield from check_login(account, facts)
    yield from check_lock(account, facts)
    yield from check_callback(account)
    yield from check_timeout(account, facts)
    for directory in account.missing_directories:
        yield fault(
            f"{account.name}: paths",
            f"{directory} is not there, so nothing can be put into it",
            f"mkdir -p {quote(directory)}",
        )
    if not account.hook_found:
        yield fault(
            f"{account.name}: on_event",
            f"the program {account.hook} is not found, so nobody is told of an event",
            f"${{EDITOR:-vi}} {quote(facts.config.file.path)}",
        )


def check_directory(account: AccountFacts, user: int) -> Iterator[Finding]:
    directory, subject = account.login.directory, f"{account.name}: token file"
    if directory.kind == "missing":
        return  # it is made when it is needed
    if directory.owner not in (0, user):
        yield fault(
            subject,
            f"{directory.path} belongs to user {directory.owner}",
            f"sudo chown {user} {quote(directory.path)}",
        )
    elif directory.mode & 0o022 and not directory.mode & 0o1000:
        yield fault(
            subject,
            f"others may write in {directory.path} (mode {directory.mode:04o})",
            f"chmod go-w {quote(directory.path)}",
        )
    elif not account.login.directory_writable:
        yield fault(
            subject,
            f"nothing can be written in {directory.path}: a new token would be lost",
            f"chmod u+w {quote(directory.path)}; df {quote(directory.path)}",
        )


def check_timeout(account: AccountFacts, facts: Facts) -> Iterator[Finding]:
    if 0 < account.rotation_grace <= account.timeout:
        yield warning(
            f"{account.name}: timeout",
            f"an answer given up after {duration(account.timeout)} can't be asked for again, and "
            "the login would be lost: the provider takes a spent refresh token for "
            f"{duration(account.rotation_grace)} (rotation_grace)",
            f"${{EDITOR:-vi}} {quote(facts.config.file.path)}",
        )


def check_login(account: AccountFacts, facts: Facts) -> Iterator[Finding]:
    login, subject = account.login, f"{account.name}: login"
    path, again = login.file.path, f"tokenrelay login {account.name}"
    if login.file.kind == "missing":
        yield fault(subject, f"there is none: no token file {path}", again)
    elif login.file.kind != "file":
        yield fault(
            subject, f"{path} is no regular file", f"mv {quote(path)} {quote(path)}.bad; {again}"
        )
    elif login.file.owner != facts.user:
        yield fault(
            subject,
            f"{path} belongs to user {login.file.owner}",
            f"sudo chown {facts.user} {quote(path)}",
        )
    elif login.file.mode & 0o077:
        yield fault(
            subject,
            f"others may read or write {path} (mode {login.file.mode:04o})",
            f"chmod 600 {quote(path)}",
        )
    elif login.error is not None:
        # A new login may end the old one, which is good once its file can be read.
        yield fault(
            subject, login.error, again if login.damaged else f"tokenrelay show {account.name}"
        )
    elif login.refusal is not None:
        yield fault(subject, f"the provider takes it no more: {login.refusal}", again)
    else:
        yield _judge_age(account, again, facts.now)


def check_lock(account: AccountFacts, facts: Facts) -> Iterator[Finding]:
    holder, sender = account.login.lock_holder, facts.sender.holder
    if holder is None or (sender is not None and holder.pid == sender.pid):
        return
    cure = f"kill -CONT {holder.pid}" if holder.state == "T" else f"kill {holder.pid}"
    yield fault(
        f"{account.name}: lock",
        f"process {holder.pid} ({holder.program}) holds the lock of {account.login.file.path}: "
        "nobody else can refresh",
        cure,
    )


def check_callback(account: AccountFacts) -> Iterator[Finding]:
    callback, subject = account.callback, f"{account.name}: callback"
    paste = f"tokenrelay login {account.name} --paste"
    if callback.uri is None:
        yield warning(
            subject,
            "redirect_uri is missing: only a login with a code on another device works",
            f"tokenrelay login {account.name} --device",
        )
    elif callback.problem is not None:
        yield fault(subject, f"{callback.uri}: {callback.problem}", paste)
    elif callback.holder is not None:
        yield fault(
            subject,
            f"process {callback.holder.pid} ({callback.holder.program}) listens at {callback.uri}, "
            "so a login could not",
            f"kill {callback.holder.pid}",
        )
    elif callback.taken:
        yield fault(subject, f"somebody else listens at {callback.uri}", "sudo ss -ltnp")
    else:
        yield ok(subject, callback.uri)


def check_provider(provider: ProviderFacts) -> Finding:
    subject, error = f"{', '.join(provider.accounts)}: provider", provider.error
    if error is not None:
        return _judge_connection(provider, subject, error)
    if provider.clock_ahead is None:
        return ok(subject, f"{provider.url} answers, without a Date")
    if abs(provider.clock_ahead) > CLOCK_TOLERANCE_SECONDS:
        way = "ahead of" if provider.clock_ahead > 0 else "behind"
        return fault(
            subject,
            f"this machine's clock is {abs(provider.clock_ahead):.0f} s {way} that of "
            f"{provider.url}: tokens would be replaced too early or too late",
            "sudo timedatectl set-ntp true",
        )
    return ok(subject, f"{provider.url} answers; the clocks agree")


def check_socket(socket: SocketFacts, facts: Facts) -> Finding:
    subject = f"{socket.account}: receiver"
    if socket.problem is not None:
        return fault(
            subject, socket.problem, f"ls -l {quote(socket.path)}; rm {quote(socket.path)}"
        )
    if socket.listening and (reason := facts.sender.unserved.get(socket.path)) is not None:
        return _judge_unserved(socket, reason, facts)
    if socket.listening:
        return ok(subject, socket.path)
    if socket.fixed:
        return warning(
            subject,
            f"nobody listens at {socket.path}, which the configuration names",
            f"tokenrelay listen --path {quote(socket.path)}",
        )
    return fault(
        subject,
        f"{socket.path} was left behind by a program that is gone",
        f"rm {quote(socket.path)}",
    )


def _judge_unserved(socket: SocketFacts, reason: str, facts: Facts) -> Finding:
    unit = None if facts.sender.holder is None else unit_of(facts.sender.holder.pid, facts)
    return fault(
        f"{socket.account}: receiver",
        f"somebody listens at {socket.path}, and the sender does not serve it: {reason}",
        # Its view of the file system may be another: PrivateTmp= of a drop-in, say.
        "tokenrelay status" if unit is None else systemctl(unit, "cat"),
    )


def _judge_age(account: AccountFacts, again: str, now: float) -> Finding:
    login, subject = account.login, f"{account.name}: login"
    if login.login_end is not None and now >= login.login_end:
        return fault(subject, f"it ended {duration(now - login.login_end)} ago", again)
    if login.login_warning is not None and login.login_end is not None:
        return warning(subject, f"it ends in {duration(login.login_end - now)}", again)
    if login.expires_at is not None and now >= login.expires_at:
        return warning(
            subject,
            f"the access token expired {duration(now - login.expires_at)} ago",
            f"tokenrelay refresh {account.name}",
        )
    if login.login_end is None:
        return ok(subject, f"{login.file.path}; when it ends is not known")
    return ok(subject, f"{login.file.path}; {duration(login.login_end - now)} left")


def _judge_connection(provider: ProviderFacts, subject: str, error: str) -> Finding:
    host, _, port = provider.url.partition("://")[2].partition(":")
    if "CERTIFICATE_VERIFY_FAILED" in error:
        detail = error.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or error
        return fault(
            subject,
            f"the certificate of {provider.url} is not trusted: {detail}",
            f"openssl s_client -brief -connect {host}:{port} </dev/null; "
            "sudo update-ca-certificates",
        )
    return fault(
        subject,
        f"{provider.url} cannot be reached: {error}",
        f"curl -sSI {provider.url}",
    )
