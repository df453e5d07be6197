"""A backend that dies at its n-th operation, and takes its engine with it."""

from __future__ import annotations

import trio

from goflow_trio.errors import StoreClosed, StoreUnavailable


class DyingBackend:
    """Passes operations on to `inner` until operation number `dies_at`; then nothing ever gets through again.

    The fatal operation takes effect if `after` is true. `died` tells the test to end the engine at once.
    """

    def __init__(self, inner, dies_at: int | None = None, *, after: bool = False) -> None:
        self.inner = inner
        self.durability = inner.durability
        self.died = trio.Event()
        self.operations = 0
        self._dies_at = dies_at
        self._after = after

    async def _do(self, operation, *args):
        if self.died.is_set():
            raise StoreClosed("dead")
        self.operations += 1
        if self.operations != self._dies_at:
            return await operation(*args)
        if self._after:
            await operation(*args)
        self.died.set()
        await trio.sleep_forever()
        return None

    async def get(self, key):
        return await self._do(self.inner.get, key)

    async def get_many(self, keys):
        return await self._do(self.inner.get_many, keys)

    async def put(self, items):
        return await self._do(self.inner.put, items)

    async def put_if_absent(self, key, value):
        return await self._do(self.inner.put_if_absent, key, value)

    async def scan(self, prefix, after="", limit=1000):
        return await self._do(self.inner.scan, prefix, after, limit)

    async def delete(self, keys):
        return await self._do(self.inner.delete, keys)

    async def aclose(self):
        await trio.lowlevel.checkpoint()


class FlakyBackend(DyingBackend):
    """Fails writes while `down`, sometimes after they took effect: the caller cannot know."""

    def __init__(self, inner) -> None:
        super().__init__(inner)
        self.down = False

    async def put(self, items):
        if self.down:
            if self.operations % 2:
                await self.inner.put(items)
            self.operations += 1
            raise StoreUnavailable("the disk is full")
        await super().put(items)
