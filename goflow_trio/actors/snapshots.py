"""Records to pairs of keys and bytes, and back. A snapshot is a cache of the log: it can always be written again.

One that is too large for a single value is kept in parts, which are written before the value that names them.
"""

from __future__ import annotations

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.patience import timed
from goflow_trio.core import limits
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.core.states import FINAL
from goflow_trio.errors import CodecError
from goflow_trio.stores import Backend


def snapshot_pairs(key: str, record: ExecutionRecord) -> dict[str, bytes]:
    """Return what to put to keep `record` under `key`. The last pair names all others."""
    data = codec.encode_record(record)
    if len(data) <= limits.SEGMENT_BYTES:
        return {key: data}
    pairs = {}
    for number, start in enumerate(range(0, len(data), limits.SEGMENT_BYTES)):
        part = keys.snapshot_part(key, record.version, number)
        pairs[part] = data[start : start + limits.SEGMENT_BYTES]
    pairs[key] = codec.encode_mapping({"parts": list(pairs)})
    return pairs


async def read_snapshot(backend: Backend, key: str, data: bytes) -> tuple[ExecutionRecord, list[str]]:
    """Return the record kept under `key`, whose value is `data`, and all keys it takes up.

    Raises:
        CodecError: it is damaged, or a part is missing.
    """
    body = codec.unseal(data, key, "record")
    if not isinstance(body, dict):
        return codec.decode_record(data, key), [key]
    parts: list[str] = body.get("parts", [])
    found = await timed(backend.get_many, parts)
    if len(found) < len(parts):
        raise CodecError(f"{key}: {len(parts) - len(found)} of its {len(parts)} parts are missing")
    return codec.decode_record(b"".join(found[part] for part in parts), key), [*parts, key]


def stale_listings(record: ExecutionRecord) -> set[str]:
    """Return the keys under which an execution may still be listed as it ended before it was opened again."""
    flipped = keys.flip(record.id)
    others = FINAL - {record.state}
    return {keys.listing(job, state) + flipped for state in others for job in (None, record.job)}


def finished_pairs(record: ExecutionRecord) -> dict[str, bytes]:
    """Return what to put for a finished execution: its snapshot and its places in the listings."""
    flipped = keys.flip(record.id)
    pairs = snapshot_pairs(keys.execution(record.id), record)
    pairs[keys.listing(record.job, None) + flipped] = b""
    pairs[keys.listing(None, record.state) + flipped] = b""
    pairs[keys.listing(record.job, record.state) + flipped] = b""
    return pairs
