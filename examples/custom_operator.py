"""An operator of one's own: it waits for a file, tells how long it has, and fails when its time is up."""

from pathlib import Path

import trio

from goflow_trio import Job, Task, TaskContext


class WaitForFile:
    """Waits until a file exists and returns its text.

    Args:
        path: the file.
        every: seconds between two looks.
    """

    def __init__(self, path: str, every: float = 0.1) -> None:
        self.path, self.every = Path(path), every

    async def run(self, context: TaskContext) -> str:
        looks = 0
        while not self.path.exists():
            looks += 1
            context.progress(looks)
            await trio.sleep(self.every)
        context.log(f"found {self.path} after {looks} looks")
        return self.path.read_text()


def wait_for_file() -> Job:
    job = Job("wait-for-file")
    job.add(Task("wait", WaitForFile("/etc/hostname"), timeout=5))
    return job
