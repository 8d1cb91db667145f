"""`doctor` names what is wrong with the user unit, and its cure mends it, by a real systemd."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from systemd_support import COMMAND, PYTHON, Account, fingerprint, shared

from support.host import plain_login
from support.programs import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sender_support import Provider

CONFIGURATION = """\
[accounts.main]
client_id = "me"
client_secret_file = "{secret}"
token_url = "{url}"
redirect_uri = "http://127.0.0.1:8182/callback"
sockets = {sockets}
"""
SYSTEMCTL = "systemctl --user "
LOG = "journalctl --user -u tokenrelay -n 20 --no-pager; "
RELOAD = "systemctl --user daemon-reload && systemctl --user restart tokenrelay"


class Patient:
    """A user with an account and, once `install` has run, a unit that is well."""

    def __init__(self, account: Account, provider: Provider) -> None:
        self.account, self._url = account, provider.token_url
        self.units = account.home / ".config/systemd/user"
        self.config = account.home / ".config/tokenrelay/tokenrelay.toml"
        self.secret = account.write(account.home / "secrets/client_secret", "the-client-secret\n")
        self.configure()
        token = account.write(account.home / "login.json", plain_login())
        account.tokenrelay("import", token, "--account", "main")

    def configure(self, secret: str | Path = "", sockets: tuple[str, ...] = ()) -> None:
        text = CONFIGURATION.format(
            secret=secret or self.secret, url=self._url, sockets=json.dumps(sockets)
        )
        self.account.write(self.config, text)

    def install(self, *arguments: str, command: Path = COMMAND) -> None:
        self.account.run(command, "service", "install", *arguments)

    def systemctl(self, *arguments: str, succeed: bool = True) -> str:
        done = self.account.run("systemctl", "--user", *arguments, "tokenrelay", succeed=succeed)
        return done.stdout.strip()

    def drop_in(self, text: str) -> Path:
        """Settings of the user's own, in force once the unit is started again."""
        path = self.units / "tokenrelay.service.d" / "own.conf"
        self.account.write(path, f"[Service]\n{text}\n")
        self.account.run("systemctl", "--user", "daemon-reload")
        return path

    def examine(self, **environment: str) -> list[dict[str, Any]]:
        """What `doctor` finds to mend."""
        done = self.account.run(COMMAND, "doctor", "--json", succeed=False, **environment)
        findings = json.loads(done.stdout)["findings"]
        return [finding for finding in findings if finding["level"] != "ok"]

    def expect(
        self, text: str, cure: str, *, subject: str = "service", level: str = "fault",
        **environment: str,
    ) -> None:  # fmt: skip
        """Exactly this is to be mended."""
        found = self.examine(**environment)
        assert [(one["subject"], one["level"]) for one in found] == [(subject, level)], found
        assert re.search(text, found[0]["text"]), found
        assert found[0]["cure"] == cure

    def mend(self, text: str, cure: str, *, editor: str = "false", **expected: str) -> None:
        """As `expect`; then the cure is typed, and nothing is left to mend."""
        self.expect(text, cure, **expected)
        self.account.run("bash", "-c", cure, EDITOR=editor)
        assert self.examine() == []


@pytest.fixture
def patient(trader: Account, provider: Provider) -> Iterator[Patient]:
    patient = Patient(trader, provider)
    yield patient
    trader.tokenrelay("service", "uninstall")
    trader.run("sh", "-c", "rm -rf ~/.config ~/.local ~/secrets")
    trader.run("systemctl", "--user", "daemon-reload")


@pytest.fixture
def well(patient: Patient) -> Patient:
    patient.install()
    assert patient.examine() == []
    return patient


def test_no_unit(patient: Patient) -> None:
    sender, service = patient.examine()
    assert sender["cure"] == "tokenrelay run"
    assert (service["level"], service["cure"]) == ("warning", "tokenrelay service install")
    patient.account.run("bash", "-c", service["cure"])
    assert patient.examine() == []


def test_a_session_without_the_variable_that_names_the_manager(well: Patient) -> None:
    """As by su(1) or of cron(8)."""
    assert well.examine(XDG_RUNTIME_DIR="") == []


def test_not_enabled(well: Patient) -> None:
    well.systemctl("disable")
    well.mend("will not after the next boot", SYSTEMCTL + "enable tokenrelay", level="warning")


def test_stopped(well: Patient) -> None:
    well.systemctl("stop")
    well.mend("the user unit is inactive", SYSTEMCTL + "start tokenrelay")


def test_configuration_that_it_refused(well: Patient) -> None:
    text = well.config.read_text()
    well.config.write_text(text + "colour = 1\n")
    well.systemctl("restart", succeed=False)
    assert [one["subject"] for one in well.examine()] == ["configuration", "service"]
    well.config.write_text(text)
    well.mend(r"has failed: exit code 3$", f"{LOG}systemctl --user restart tokenrelay")


def test_another_installation_and_its_removal(patient: Patient) -> None:
    old = Path("/opt/old")
    shutil.copytree(PYTHON.parents[1], old, symlinks=True)
    script = patient.account.home / "old"
    patient.account.write(script, f'#!/bin/sh\nexec {old}/bin/python -m tokenrelay "$@"\n')
    script.chmod(0o700)
    patient.install(command=script)
    cure = "tokenrelay service install"
    patient.expect(f"runs {old}/bin/python, and this is {PYTHON}", cure, level="warning")
    shutil.rmtree(old)
    patient.systemctl("restart", succeed=False)
    patient.mend(f"{old}/bin/python cannot be started.*systemd tries again", cure)


def test_an_upgrade_without_a_restart(patient: Patient) -> None:
    (packages,) = PYTHON.parents[1].glob("lib/python3*/site-packages")
    installed = packages / "tokenrelay-0.0.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Name: tokenrelay\nVersion: 0.0.1\n")
    patient.install()
    shutil.rmtree(installed)
    cure = SYSTEMCTL + "restart tokenrelay"
    patient.mend("is of version 0.0.1, installed is ", cure, subject="sender")


def test_no_lingering(well: Patient) -> None:
    name = well.account.name
    log_in = ["systemd-run", "--quiet", "--pipe", "--unit=session", f"--uid={name}"]
    session = Program([*log_in, "-p", "PAMName=login", "sh", "-c", "echo ready; exec cat"])
    session.wait_for(lambda line: line.text == "ready")
    subprocess.run(["loginctl", "disable-linger", name], check=True)
    cure = f"loginctl enable-linger {name}"
    well.expect("ends when you log out", cure, level="warning")
    subprocess.run(cure.split(), check=True)
    subprocess.run(["systemctl", "stop", "session"], check=True)
    session.dispose()
    assert well.examine() == []


def test_the_watchdog_had_to_start_it_anew(well: Patient, start_as: Callable[..., Program]) -> None:
    drop_in = well.drop_in("WatchdogSec=2s\nRestartSec=100ms")
    well.systemctl("restart")
    listener = start_as(
        well.account, PYTHON, shared("listener.py"), f"/run/user/{well.account.uid}/tokenrelay/main"
    )
    fed = listener.wait_for_event("frame")
    os.kill(int(well.systemctl("show", "--value", "--property=MainPID")), signal.SIGSTOP)
    listener.wait_for_event("frame", after=fed)
    cure = f"{LOG}systemctl --user reset-failed tokenrelay"
    well.mend("failed, and systemd started it anew, 1 time$", cure, level="warning")
    drop_in.unlink()


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("ExecStart=", r"systemd cannot use the user unit \(bad-setting\)"),
        ("ProtectClock=yes", r"systemd cannot do what it asks for \(exit code 218\)"),
    ],
)
def test_a_drop_in_that_breaks_it(well: Patient, setting: str, text: str) -> None:
    path = well.drop_in(setting)
    well.systemctl("restart", succeed=False)
    verify = "systemd-analyze --user verify tokenrelay.service; "
    cure = f"{verify if setting == 'ExecStart=' else ''}${{EDITOR:-vi}} {path}; {RELOAD}"
    well.mend(text, cure, editor="rm")


def test_a_drop_in_that_hides_receivers(well: Patient, start_as: Callable[..., Program]) -> None:
    place = "/tmp/bigbrother_token.sock"
    receiver = start_as(well.account, PYTHON, shared("receive.py"), "--path", place, "main")
    well.configure(sockets=(place,))
    well.systemctl("restart")
    receiver.wait_for_event("token", fingerprint=fingerprint("access-0"))
    path = well.drop_in("PrivateUsers=yes\nPrivateTmp=yes")
    well.systemctl("restart")
    cure = SYSTEMCTL + "cat tokenrelay"
    text = "somebody listens at .*, and the sender does not serve it: no socket there"
    well.expect(text, cure, subject="main: receiver")
    path.unlink()
    well.account.run("bash", "-c", RELOAD)
    assert well.examine() == []


def test_changed_on_disk_and_not_read(well: Patient) -> None:
    unit = well.units / "tokenrelay.service"
    unit.write_text(unit.read_text() + "# mine\n")
    well.mend("changed on disk, and systemd has not read it", RELOAD, level="warning")


def test_masked(patient: Patient) -> None:
    patient.systemctl("mask")
    cure = "systemctl --user unmask tokenrelay; tokenrelay service install"
    patient.mend("the user unit is masked", cure)


def test_secrets_that_systemd_gives_to_the_unit_alone(patient: Patient) -> None:
    patient.configure(secret="$CREDENTIALS_DIRECTORY/secret")
    patient.install("--credential", f"secret:{patient.secret}")
    (finding,) = patient.examine()
    assert (finding["level"], finding["subject"]) == ("warning", "configuration")
    said = patient.account.run("bash", "-c", finding["cure"])
    assert "Nothing is wrong." in said.stdout


def test_a_secret_of_the_units_that_is_missing(patient: Patient) -> None:
    patient.install("--credential", f"secret:{patient.secret}")
    aside = patient.secret.rename(patient.secret.with_name("aside"))
    patient.systemctl("restart", succeed=False)
    cure = f"ls -l {patient.secret}; systemctl --user restart tokenrelay"
    configuration, service = patient.examine()
    assert configuration["subject"] == "configuration"
    assert "named by LoadCredential= cannot be read" in service["text"]
    assert service["cure"] == cure
    aside.rename(patient.secret)
    patient.mend("named by LoadCredential= cannot be read", cure)


def test_a_sender_with_another_configuration(patient: Patient) -> None:
    other = patient.account.write(patient.account.home / "o.toml", patient.config.read_text())
    patient.account.run(COMMAND, "--config", other, "service", "install")
    cure = f"tokenrelay doctor --config {other}"
    patient.expect(f"another configuration than {patient.config}: {other}", cure, subject="sender")
    assert "Nothing is wrong." in patient.account.run("bash", "-c", cure).stdout


def test_a_sender_that_serves_other_places(well: Patient) -> None:
    elsewhere = f"/run/user/{well.account.uid}/elsewhere"
    cure = f"{SYSTEMCTL}show -p Environment tokenrelay; env | grep TOKENRELAY_"
    text = f"the user unit's, process \\d+, serves other places .*: {elsewhere}$"
    well.expect(text, cure, subject="sender", TOKENRELAY_RUNTIME_DIR=elsewhere)


def test_no_manager_for_a_unit_that_is_installed(well: Patient) -> None:
    subprocess.run(["useradd", "--create-home", "visitor"], check=True)
    visitor = Account.named("visitor")
    unit = ".config/systemd/user/tokenrelay.service"
    visitor.write(visitor.home / unit, (well.account.home / unit).read_text())
    report = visitor.run(COMMAND, "doctor", "--json", succeed=False).stdout
    found = [one for one in json.loads(report)["findings"] if one["subject"] == "service"]
    assert [one["cure"] for one in found] == ["sudo loginctl enable-linger visitor"]
    assert re.search("no service manager that runs it: Failed to connect to bus", found[0]["text"])
    subprocess.run(["loginctl", "enable-linger", "visitor"], check=True)
    subprocess.run(["systemctl", "start", f"user@{visitor.uid}"], check=True)
    visitor.run("systemctl", "--user", "show", "tokenrelay")
