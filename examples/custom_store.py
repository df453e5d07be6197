"""A store of one's own: a folder with one file a key. Any object with the methods of `Backend` will do."""

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import trio

from goflow_trio import Job, Noop, Task, open_engine
from goflow_trio.errors import StoreClosed
from goflow_trio.stores.base import Durability, check_items, check_key


class FolderBackend:
    """Each file is named by a digest of its key and holds `key NUL value`; it is replaced as a whole or not at all."""

    durability = Durability(survives_kill=True, survives_power_cut=False, detail="files, not synced to the disk")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.closed = False
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, key: str) -> Path:
        if self.closed:
            raise StoreClosed("the folder store is closed")
        check_key(key)
        return self.folder / hashlib.sha256(key.encode()).hexdigest()

    def _draft(self, key: str, value: bytes) -> Path:
        draft = self.folder / ".draft"  # used up before the next checkpoint, so no two writes can mix
        draft.write_bytes(key.encode() + b"\0" + value)
        return draft

    async def get(self, key: str) -> bytes | None:
        await trio.lowlevel.checkpoint()
        path = self._path(key)
        return path.read_bytes().partition(b"\0")[2] if path.exists() else None

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        values = {key: await self.get(key) for key in keys}
        return {key: value for key, value in values.items() if value is not None}

    async def put(self, items: Mapping[str, bytes]) -> None:
        check_items(items)
        self._path("any")
        for key, value in items.items():
            await trio.lowlevel.checkpoint()
            self._draft(key, value).replace(self._path(key))
        await trio.lowlevel.checkpoint()

    async def put_if_absent(self, key: str, value: bytes) -> bool:
        await trio.lowlevel.checkpoint()
        check_items({key: value})
        path = self._path(key)
        if path.exists():
            return False
        self._draft(key, value).replace(path)
        return True

    async def scan(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[tuple[str, bytes]]:
        await trio.lowlevel.checkpoint()
        self._path("any")
        rows = []
        for path in self.folder.glob("[!.]*"):
            key, _, value = path.read_bytes().partition(b"\0")
            if key.decode().startswith(prefix) and key.decode() > after:
                rows.append((key.decode(), value))
        return sorted(rows)[:limit]

    async def delete(self, keys: Iterable[str]) -> None:
        await trio.lowlevel.checkpoint()
        self._path("any")
        for key in keys:
            self._path(key).unlink(missing_ok=True)

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def main(folder: str) -> None:
    job = Job("kept-in-a-folder")
    job.add(Task("nothing", Noop()))
    async with open_engine(FolderBackend(Path(folder)), jobs=[job]) as engine:
        record = await (await engine.submit(job.name)).wait()
        print(record.state, len(await engine.newest()), "executions in", folder)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "goflow-store")
