"""`doctor` names each fault and what mends it; where the cure can be typed here, it is."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from doctor_support import DAY, Patient, Provider, serving

from support.host import write_private
from support.listener import socket_name
from support.programs import TOKENRELAY
from tokenrelay.cli.diagnosis import system
from tokenrelay.cli.diagnosis.gather import gather
from tokenrelay.sender.certificate import make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.host import Host
    from support.programs import Program, Start

HOLD_LOCK = """
import fcntl, sys
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("ready", flush=True)
sys.stdin.read()
"""
TWO_FILESYSTEMS = """
import fcntl, os, subprocess, sys
from pathlib import Path
from tokenrelay.cli.diagnosis.system import lock_holder
paths = []
for name in ("held", "free"):
    folder = Path(sys.argv[1]) / name
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    paths.append(folder / "lock")
    paths[-1].touch()
assert paths[0].stat().st_ino == paths[1].stat().st_ino
with paths[0].open() as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert lock_holder(paths[0]).pid == os.getpid()
    assert lock_holder(paths[1]) is None
"""
LISTEN = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
sys.stdin.read()
"""
RECEIVE_MISSPELT = """
import sys
from tokenrelay import TokenReceiver
with TokenReceiver("mian"):
    print("ready", flush=True)
    sys.stdin.read()
"""
OLD_SENDER = """
import sys
from pathlib import Path
import anyio
import structlog
from tokenrelay.sender.control import ControlServer
async def status(request):
    return {"version": "0.0.1"}
handlers = {"status": status}
with ControlServer(Path(sys.argv[1]), handlers, log=structlog.get_logger()) as server:
    print("ready", flush=True)
    anyio.run(server.run)
"""


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving(Provider()) as provider:
        yield provider


@pytest.fixture
def patient(host: Host, start: Start, provider: Provider) -> Patient:
    return Patient(host, start, provider.origin)


def expect(patient: Patient, subject: str, text: str, cure: str, level: str = "fault") -> str:
    """Exactly this is to be mended; returns the cure as it was printed."""
    found = patient.examine()
    assert [(one["level"], one["subject"]) for one in found] == [(level, subject)], found
    assert re.search(text, found[0]["text"]), found
    assert re.fullmatch(cure, found[0]["cure"]), found
    return str(found[0]["cure"])


def mend(
    patient: Patient, subject: str, text: str, cure: str, *, ends: Program | None = None
) -> None:
    """As `expect`; then the cure is typed, which ends a program, and nothing is left to mend."""
    patient.follow(expect(patient, subject, text, cure))
    if ends is not None:
        ends.wait()
    assert patient.examine() == []


def test_a_healthy_host_has_no_faults(patient: Patient) -> None:
    assert patient.examine() == []


def test_missing_configuration(patient: Patient) -> None:
    patient.host.config.unlink()
    expect(patient, "configuration", "is not there", "tokenrelay init")


def test_misspelt_key(patient: Patient) -> None:
    patient.configure(client_idd="c")
    patient.host.config.touch()
    cure = rf"\$\{{EDITOR:-vi\}} \+6 {patient.host.config}"
    expect(patient, "configuration", "did you mean client_id", cure)


@pytest.mark.parametrize("content", [None, ""])
def test_secret_that_nobody_has_written_yet(patient: Patient, content: str | None) -> None:
    secret = patient.host.root / "main.secret"
    if content is not None:
        write_private(secret, content)
    patient.configure(client_auth="basic", client_secret_file=str(secret))
    cure = rf"\(umask 077; \$\{{EDITOR:-vi\}} {secret}\)"
    expect(patient, "configuration", f"client_secret_file: {secret} is ", cure)


def test_configuration_that_needs_credentials_of_systemd(patient: Patient) -> None:
    patient.configure(client_secret_file="$CREDENTIALS_DIRECTORY/secret")
    cure = f"systemd-run .* doctor --config {patient.host.config}"
    expect(patient, "configuration", "gives to the unit alone", cure, "warning")


def test_configuration_that_others_may_write(patient: Patient) -> None:
    patient.host.config.chmod(0o666)
    mend(patient, "configuration", "mode 0666", f"chmod go-w {patient.host.config}")


def test_configuration_changed_since_the_sender_read_it(patient: Patient) -> None:
    patient.host.config.touch()
    cure = f"kill -HUP {patient.sender.pid}"
    patient.follow(expect(patient, "sender", "has not read the configuration", cure))
    patient.sender.wait_for_event("configuration reloaded")
    assert patient.examine() == []


def test_configuration_that_the_sender_refused(patient: Patient) -> None:
    """What it could not use then may be there now, with nothing changed in the file."""
    patient.configure(client_idd="c")
    os.kill(patient.sender.pid, signal.SIGHUP)
    patient.sender.wait_for_event("configuration refused, the old one stays")
    patient.configure()
    cure = f"kill -HUP {patient.sender.pid}"
    text = "refused the changed configuration, the old one stays: .* did you mean client_id"
    patient.follow(expect(patient, "sender", text, cure))
    patient.sender.wait_for_event("configuration reloaded")
    assert patient.examine() == []


def test_runtime_directory_open_to_others(patient: Patient) -> None:
    patient.host.runtime.chmod(0o755)
    cure = f"chmod 700 {patient.host.runtime}"
    mend(patient, "runtime directory", "mode 0755", cure)


def test_directory_of_an_account_open_to_others(patient: Patient) -> None:
    directory = patient.host.runtime / "main"
    directory.chmod(0o755)
    mend(patient, "runtime directory", "mode 0755", f"chmod 700 {directory}")


def test_program_that_listens_for_an_account_that_is_not_configured(patient: Patient) -> None:
    patient.run_python(RECEIVE_MISSPELT)
    expect(
        patient,
        "mian: receiver",
        r"/mian/\S+ listens for mian, .* it has main\.",
        rf"\$\{{EDITOR:-vi\}} {patient.host.config}",
        "warning",
    )


def test_token_file_open_to_others(patient: Patient) -> None:
    path = patient.host.token_file()
    path.chmod(0o644)
    mend(patient, "main: login", "mode 0644", f"chmod 600 {path}")


def test_damaged_token_file(patient: Patient) -> None:
    patient.host.token_file().write_text('{"access_tok')
    expect(patient, "main: login", "truncated", "tokenrelay login main")


def test_token_file_that_cannot_be_read_is_no_reason_to_give_up_its_login(
    patient: Patient,
) -> None:
    path = patient.host.token_file()
    path.with_name("another name").hardlink_to(path)
    expect(patient, "main: login", r"2 names \(hard links\)", "tokenrelay show main")


def test_missing_login(patient: Patient) -> None:
    patient.host.token_file().unlink()
    expect(patient, "main: login", "no token file", "tokenrelay login main")


def test_login_that_is_over(patient: Patient) -> None:
    patient.store(granted_ago=8 * DAY)
    expect(patient, "main: login", r"ended 1d( \ds)? ago", "tokenrelay login main")


def test_login_that_ends_soon(patient: Patient) -> None:
    patient.store(granted_ago=6.5 * DAY)
    expect(patient, "main: login", "ends in 11h 59m", "tokenrelay login main", "warning")


def test_login_that_the_provider_ended(patient: Patient) -> None:
    done = subprocess.run(
        [*TOKENRELAY, "refresh"], env=patient.environment, capture_output=True, check=False
    )
    assert done.returncode == 4
    expect(patient, "main: login", "takes it no more", "tokenrelay login main")


def test_directory_of_token_files_where_others_may_write(patient: Patient) -> None:
    patient.host.state.chmod(0o777)
    cure = f"chmod go-w {patient.host.state}"
    mend(patient, "main: token file", "mode 0777", cure)


def test_lock_of_the_token_file_held_by_another_program(patient: Patient) -> None:
    lock = f"{patient.host.token_file()}.lock"
    holder = patient.run_python(HOLD_LOCK, lock)
    mend(
        patient, "main: lock", f"process {holder.pid} \\(python", f"kill {holder.pid}", ends=holder
    )


def test_no_sender(patient: Patient) -> None:
    patient.sender.terminate()
    expect(patient, "sender", "none runs", "tokenrelay run")


def test_stopped_sender(patient: Patient) -> None:
    pid = patient.sender.pid
    os.kill(pid, signal.SIGSTOP)
    mend(patient, "sender", f"process {pid} is stopped", f"kill -CONT {pid}")


def test_program_that_holds_the_senders_lock_and_does_not_answer(patient: Patient) -> None:
    patient.sender.terminate()
    holder = patient.run_python(HOLD_LOCK, patient.host.runtime / "sender.lock")
    expect(patient, "sender", "does not answer", f"kill {holder.pid}")


def test_sender_of_another_version(patient: Patient) -> None:
    patient.sender.terminate()
    patient.run_python(OLD_SENDER, patient.host.runtime)
    expect(patient, "sender", "of version 0.0.1", "tokenrelay run --replace")


def test_socket_left_behind(patient: Patient) -> None:
    """While a sender runs, it removes them."""
    patient.sender.terminate()
    path = patient.host.runtime / "main" / socket_name()
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    sender, stale = patient.examine()
    assert (sender["subject"], stale["subject"]) == ("sender", "main: receiver")
    assert stale["cure"] == f"rm {path}"
    patient.follow(stale["cure"])
    assert [one["subject"] for one in patient.examine()] == ["sender"]


def test_something_else_at_a_fixed_path(patient: Patient) -> None:
    path = patient.host.root / "bot.sock"
    path.touch()
    patient.configure(sockets=[str(path)])
    expect(patient, "main: receiver", "is not a socket", f"ls -l {path}; rm {path}")


def test_nobody_at_a_fixed_path(patient: Patient) -> None:
    path = patient.host.root / "bot.sock"
    patient.configure(sockets=[str(path)])
    cure = f"tokenrelay listen --path {path}"
    expect(patient, "main: receiver", "nobody listens", cure, "warning")


def test_directory_of_a_mirror_that_is_missing(patient: Patient) -> None:
    directory = patient.host.root / "my bots"
    patient.configure(mirror=[str(directory / "token.json")])
    mend(patient, "main: paths", "is not there", f"mkdir -p '{directory}'")


def test_event_program_that_is_missing(patient: Patient) -> None:
    patient.configure(on_event=["no-such-program", "{event}"])
    cure = rf"\$\{{EDITOR:-vi\}} {patient.host.config}"
    expect(patient, "main: on_event", "no-such-program is not found", cure)


def test_timeout_longer_than_a_lost_answer_can_wait(patient: Patient) -> None:
    patient.configure(timeout="10s", rotation_grace="10s")
    cure = rf"\$\{{EDITOR:-vi\}} {patient.host.config}"
    expect(patient, "main: timeout", "given up after 10s can't be asked for again", cure, "warning")


def test_clock_that_is_wrong(patient: Patient, provider: Provider) -> None:
    provider.clock_ahead = 600
    cure = "sudo timedatectl set-ntp true"
    expect(patient, "main: provider", r"clock is (59\d|600) s behind", cure)


def test_certificate_that_is_not_trusted(patient: Patient) -> None:
    with serving(Provider(tls=make_certificate("127.0.0.1").context)) as stranger:
        patient.configure(token_url=f"{stranger.origin}/token")
        host = f"127.0.0.1:{stranger.server_port}"
        cure = f"openssl s_client -brief -connect {host} </dev/null; sudo update-ca-certificates"
        expect(patient, "main: provider", "not trusted: self.signed certificate", cure)


def test_provider_that_cannot_be_reached(patient: Patient) -> None:
    patient.configure(token_url="http://127.0.0.1:9/token")
    expect(patient, "main: provider", "cannot be reached", "curl -sSI http://127.0.0.1:9")


def test_callback_that_another_program_holds(patient: Patient) -> None:
    other = patient.run_python(LISTEN, str(patient.port))
    mend(patient, "main: callback", f"process {other.pid}", f"kill {other.pid}", ends=other)


def test_callback_on_another_machine(patient: Patient) -> None:
    patient.configure(redirect_uri="https://example.com/callback")
    expect(patient, "main: callback", "not this machine", "tokenrelay login main --paste")


def test_the_report_is_text_with_a_line_for_each_check(patient: Patient) -> None:
    patient.host.token_file().chmod(0o644)
    done = subprocess.run(
        [*TOKENRELAY, "doctor"], env=patient.environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert re.search(r"^FAULT +main: login: .*\n +chmod 600 ", done.stdout, re.MULTILINE)
    assert re.search(r"^ok +sender: process \d+ runs", done.stdout, re.MULTILINE)
    assert done.stderr == ""


def test_a_user_without_an_entry_in_the_user_database_has_a_number(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`docker run -u 12345` makes such a user."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in host.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert gather(host.config).user_name == str(os.getuid())


def test_a_lock_is_found_by_its_file(short_path: Path) -> None:
    path = short_path / "lock"
    with path.open("w") as file:
        assert system.lock_holder(path) is None
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = system.lock_holder(path)
    assert holder is not None
    assert holder.pid == os.getpid()


def test_a_waiter_is_no_holder() -> None:
    locks = (
        "1: -> FLOCK  ADVISORY  WRITE 7 08:01:5 0 EOF\n2: POSIX  ADVISORY  WRITE 8 08:01:5 0 EOF"
    )
    assert system.find_lock(locks, "08:01:5") is None
    assert system.find_lock(locks + "\n3: FLOCK  ADVISORY  WRITE 9 08:01:5 0 EOF", "08:01:5") == 9


@pytest.mark.needs_root
def test_a_lock_of_the_same_inode_on_another_filesystem_is_another_lock(short_path: Path) -> None:
    alone = ("unshare", "--mount", "--propagation", "private")
    done = subprocess.run(
        [*alone, sys.executable, "-c", TWO_FILESYSTEMS, short_path],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_device_of_a_lock_is_that_of_the_mount() -> None:
    # Of a subvolume of btrfs, whose files stat(2) gives another device.
    mounts = "36 1 0:47 /home /home rw,relatime - btrfs /dev/sda2 rw,subvol=/home"
    assert system.find_device(mounts, "36") == (0, 0x2F)
    with pytest.raises(OSError, match="mount 35"):
        system.find_device(mounts, "35")
