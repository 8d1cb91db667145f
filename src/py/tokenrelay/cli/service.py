"""``tokenrelay service``: the sender as a systemd unit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenrelay.cli.options import ConfigOption
from tokenrelay.cli.output import note, write

if TYPE_CHECKING:
    from tokenrelay.cli.systemctl import Manager

app: typer.Typer = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Run the sender by systemd."
)

SystemOption = Annotated[
    bool,
    typer.Option("--system", help="The system's unit, with a user of its own, for whole servers."),
]
CredentialOption = Annotated[
    list[str] | None,
    typer.Option(
        "--credential",
        metavar="NAME:FILE",
        help='LoadCredential=, for client_secret_file = "$CREDENTIALS_DIRECTORY/NAME". '
        "Default: those of the unit that is there.",
    ),
]
OWN_VARIABLES = ("TOKENRELAY_CONFIG", "TOKENRELAY_RUNTIME_DIR", "TOKENRELAY_STATE_DIR")
SYSUSERS_FILE = Path("/etc/sysusers.d/tokenrelay.conf")
# What ProtectHome= and PrivateTmp= hide from the system's unit.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108


@app.command()
def show(
    context: typer.Context,
    *,
    system: SystemOption = False,
    credential: CredentialOption = None,
    config: ConfigOption = None,
) -> None:
    """Print the unit, and change nothing.

    \b
    Example:
      tokenrelay service show
      tokenrelay service show --system
    """
    text = _unit_text(context, config, credential, system=system)
    write(text.removesuffix("\n"))
    _note_exposure(text)


@app.command()
def install(
    context: typer.Context,
    *,
    system: SystemOption = False,
    credential: CredentialOption = None,
    config: ConfigOption = None,
) -> None:
    """Write the unit, have it start by itself, and start it; again after each upgrade.

    \b
    Example:
      tokenrelay service install
      sudo tokenrelay service install --system --credential client_secret:/etc/tokenrelay/secret
    """
    from tokenrelay.cli.systemctl import Manager, unit_path
    from tokenrelay.sender.units import UNIT_NAME

    text = _unit_text(context, config, credential, system=system)
    if system:
        _check_reachable()
        _make_system_user()
    path = unit_path(system=system)
    changed = _write_unit(path, text)
    note(f"{path}: {'written' if changed else 'as it was'}")
    _note_exposure(text)
    manager = Manager(system=system)
    manager.control("daemon-reload")
    manager.control("enable", "--quiet", UNIT_NAME)
    _start(manager, _config_of(context, config, system=system))
    _note_next(system=system)


@app.command()
def uninstall(*, system: SystemOption = False) -> None:
    """End the service and remove its unit. Configuration and logins stay.

    \b
    Example:
      tokenrelay service uninstall
    """
    from tokenrelay.cli.systemctl import Manager, unit_path

    path = unit_path(system=system)
    if not path.exists():
        note(f"{path}: not there, nothing to do")
        return
    _check_ours(path)
    manager = Manager(system=system)
    ended = _end(manager)
    path.unlink()
    if ended:
        manager.control("daemon-reload")
    note(f"{path}: removed. Configuration and logins stay where they are")


def _unit_text(
    context: typer.Context, config: Path | None, credentials: list[str] | None, *, system: bool
) -> str:
    from tokenrelay.cli.systemctl import unit_path
    from tokenrelay.sender import units

    path = unit_path(system=system)
    there = units.credentials_of(path.read_text()) if path.exists() else ()
    environment = dict(units.SYSTEM_ENVIRONMENT) if system else _own_environment()
    if chosen := config or context.obj:
        environment["TOKENRELAY_CONFIG"] = str(chosen.absolute())
    unit = units.Unit(
        # -P: whatever lies in the directory it is started in is not imported.
        command=(sys.executable, "-P", "-m", "tokenrelay", "run"),
        environment=environment,
        credentials=[_checked_credential(one) for one in credentials or there],
    )
    return units.system_unit(unit) if system else units.user_unit(unit)


def _own_environment() -> dict[str, str]:
    # Else the service would look elsewhere than the commands of this user, also where they are
    # typed with a relative path: systemd starts it in another folder.
    given = {name: os.environ.get(name) for name in OWN_VARIABLES}
    return {name: str(Path(value).absolute()) for name, value in given.items() if value}


def _checked_credential(text: str) -> str:
    name, _, file = text.partition(":")
    if not name or Path(name).name != name or not file.startswith("/") or not file.isprintable():
        raise typer.BadParameter(f"{text!r}: write it as NAME:/PATH/OF/FILE")
    return text


def _config_of(context: typer.Context, config: Path | None, *, system: bool) -> Path:
    from tokenrelay.paths import config_file
    from tokenrelay.sender.units import SYSTEM_ENVIRONMENT

    default = Path(SYSTEM_ENVIRONMENT["TOKENRELAY_CONFIG"]) if system else None
    return config_file(option=config or context.obj or default)


def _write_unit(path: Path, text: str) -> bool:
    """Whether the file had to be changed."""
    if path.exists():
        _check_ours(path)
        if path.read_text() == text:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.replace(path)
    return True


def _check_ours(path: Path) -> None:
    from tokenrelay.sender.errors import SenderError
    from tokenrelay.sender.units import MARK

    if not path.read_text().startswith(MARK):
        raise SenderError(
            f"{path} was not written by this command, so it is left alone. Move it away, and put "
            "settings of your own in a drop-in: systemctl edit"
        )


def _check_reachable() -> None:
    """The system's unit sees neither homes nor /tmp: what it runs must be elsewhere."""
    from tokenrelay.sender.errors import SenderError

    for place in (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1])):
        if any(Path(place).resolve().is_relative_to(hidden) for hidden in HIDDEN):
            raise SenderError(
                f"{place} is hidden from the system's unit. Install tokenrelay for the system: "
                "/usr/bin/python3 -m venv /opt/tokenrelay && "
                "/opt/tokenrelay/bin/pip install 'tokenrelay[sender]', and call that one"
            )


def _make_system_user() -> None:
    from tokenrelay.cli.systemctl import run
    from tokenrelay.sender.errors import SenderError
    from tokenrelay.sender.units import SYSUSERS

    SYSUSERS_FILE.parent.mkdir(exist_ok=True)
    SYSUSERS_FILE.write_text(SYSUSERS)
    done = run("systemd-sysusers", str(SYSUSERS_FILE))
    if done.returncode != 0:
        raise SenderError(f"systemd-sysusers: {done.stderr.strip()}")


def _start(manager: Manager, config: Path) -> None:
    from tokenrelay.sender.config_text import init_command
    from tokenrelay.sender.units import UNIT_NAME

    if not config.exists():
        note(f"Not started: {config} is missing. Next: {init_command(config)}")
        note("Then this command again")
        return
    # An upgrade counts from here: programs keep their token while the new one starts.
    running = manager.is_active(UNIT_NAME)
    manager.control("restart", UNIT_NAME)
    note("Restarted" if running else "Started")


def _end(manager: Manager) -> bool:
    """End the service for good; False where no manager runs that could."""
    from tokenrelay.cli.systemctl import NoManager
    from tokenrelay.sender.units import UNIT_NAME

    try:
        manager.control("disable", "--now", "--quiet", UNIT_NAME)
    except NoManager:
        manager.disable_unasked(UNIT_NAME)
        note(
            "There is no service manager here, so nothing was ended. Whether a sender still runs: "
            "tokenrelay status"
        )
        return False
    return True


def _note_exposure(text: str) -> None:
    from tokenrelay.cli.systemctl import exposure
    from tokenrelay.sender.units import UNIT_NAME

    if (score := exposure(text, UNIT_NAME)) is not None:
        note(f"Exposure by systemd-analyze security: {score} of 10 (0 is best)")


def _note_next(*, system: bool) -> None:
    from tokenrelay.cli.systemctl import lingers, user_name

    scope, user = ("", "") if system else (" --user", user_name())
    note(
        f"Look: systemctl{scope} status tokenrelay, journalctl{scope} -u tokenrelay. "
        f"After a change of the configuration: systemctl{scope} reload tokenrelay"
    )
    if not system and not lingers(user):
        note(
            "It runs while you are logged in. To have it run from boot until shutdown: "
            f"loginctl enable-linger {user}"
        )
