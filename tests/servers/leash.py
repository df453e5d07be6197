"""Runs a server for as long as somebody holds the other end of its standard input, then ends it and its files.

    python leash.py FOLDER USER SIGNAL COMMAND...

Whoever started it keeps the pipe open; when that process ends, however it ends, the kernel closes the pipe, and the
server (asked with SIGNAL, then killed) and FOLDER go. When the server ends by itself, so does the leash, and FOLDER
stays: the server may be started again on it. USER and SIGNAL are
numbers; USER is `-` for the same one. This is a script and no
module of a package, because it has to start quickly and need nothing.
"""

import os
import select
import shutil
import signal
import subprocess
import sys

PATIENCE = 5


def main(folder, user, stop_signal, *command):
    """Start the command, print its process id, and wait for the end of either side."""
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    options = {} if user == "-" else {"user": int(user), "group": int(user), "extra_groups": []}
    # What the server prints goes where errors go: our own output is for the process id alone.
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, cwd=folder, **options
    )
    print(server.pid, flush=True)
    while server.poll() is None:
        readable, _, _ = select.select([0, ended], [], [])
        if 0 in readable:  # nobody ever writes there: this is the end of the pipe
            server.send_signal(int(stop_signal))
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)
    return server.returncode & 0xFF


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
