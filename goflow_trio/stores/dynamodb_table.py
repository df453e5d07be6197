"""A table of DynamoDB as a store has it: the layout of its items, and the blocking calls. It knows no trio.

All keys are in one partition, where the sort key gives the order and a query gives a page. An item holds 400 KB, so
a larger value is in parts, in a partition of their own, and its item names them; writing that item makes the
value appear as a whole.

| partition | sort key | holds |
|---|---|---|
| `keys` | the key | `value`; or `parts`, how many, and `token`, where they are |
| `parts/<token>` | number of the part | a part of `value`; never changed |
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from goflow_trio.errors import StoreIncompatible, StoreUnavailable

Item: TypeAlias = dict[str, Any]
"""An item as DynamoDB's low-level API has it: `{"name": {"S": "text"}}`. boto3 has no types."""

PART_BYTES: Final = 380_000
"""The longest value in one item: DynamoDB's limit is 409,600 bytes with names and keys, which have up to 1,100."""

WRITES: Final = 25
"""How many items one BatchWriteItem takes."""

READS: Final = 100
"""How many items one BatchGetItem takes."""

_KEYS: Final = "keys"
_SCHEMA: Final = [("partition", "HASH"), ("key", "RANGE")]
_PARTS_ONLY: Final = "parts, #token"
_PAUSE: Final = 0.05
_ATTEMPTS: Final = 8


class Table:
    """The calls of a store on its table. They may be made from any thread, and raise botocore's errors.

    Args:
        shown: what the store is called in messages.
        name: the table's name.
        client: boto3's client, which repeats a request that fails.
        once: one that does not, for conditional writes.
    """

    def __init__(self, shown: str, name: str, client: Any, once: Any) -> None:
        # boto3 makes its classes at run time: there is no type to name.
        self._shown = shown
        self._name = name
        self._client = client
        self._once = once

    def close(self) -> None:
        """Hang up."""
        self._client.close()
        self._once.close()

    def prepare(self, *, create: bool) -> None:
        """Make the table unless it is there, and check that it is ours.

        Raises:
            StoreIncompatible: its key is not what ours is.
        """
        try:
            found = self._client.describe_table(TableName=self._name)["Table"]
        except self._client.exceptions.ResourceNotFoundException:
            if not create:
                raise
            found = self._create_table()
        schema = [(column["AttributeName"], column["KeyType"]) for column in found["KeySchema"]]
        types = {column["AttributeName"]: column["AttributeType"] for column in found["AttributeDefinitions"]}
        if schema != _SCHEMA or any(types[column] != "S" for column, _ in _SCHEMA):
            raise StoreIncompatible(
                f"{self._shown}: this table is not a store of goflow-trio: its key is not {_SCHEMA}; name another one"
            )

    def _create_table(self) -> Item:
        # Another server may make it at this moment.
        with suppress(self._client.exceptions.ResourceInUseException):
            self._client.create_table(
                TableName=self._name,
                KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in _SCHEMA],
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in _SCHEMA],
                BillingMode="PAY_PER_REQUEST",
            )
        self._client.get_waiter("table_exists").wait(TableName=self._name, WaiterConfig={"Delay": 1, "MaxAttempts": 15})
        found: Item = self._client.describe_table(TableName=self._name)["Table"]
        return found

    def get(self, key: str) -> bytes | None:
        """Return the value of a key, None when there is none."""
        while True:
            answer = self._client.get_item(TableName=self._name, Key=_key(_KEYS, key), ConsistentRead=True)
            item = answer.get("Item")
            if item is None:
                return None
            value = self.value(item)
            if value is not None:
                return value
            # Its parts went because the key was written anew; read it anew.

    def value(self, item: Item) -> bytes | None:
        """Return an item's value; None when its parts are there no more."""
        if "value" in item:
            value: bytes = item["value"]["B"]
            return value
        partition, number = f"parts/{item['token']['S']}", int(item["parts"]["N"])
        pieces: list[bytes] = []
        start: Item = {}
        while True:
            answer = self._client.query(
                TableName=self._name,
                ConsistentRead=True,
                KeyConditionExpression="#partition = :partition",
                ExpressionAttributeNames={"#partition": "partition"},
                ExpressionAttributeValues={":partition": {"S": partition}},
                **start,
            )
            pieces += (part["value"]["B"] for part in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return b"".join(pieces) if len(pieces) == number else None
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def get_items(self, keys: Sequence[str], only: str | None = None) -> list[Item]:
        """Return the items of those keys that exist; `only` some of their attributes."""
        wanted: Item = {"Keys": [_key(_KEYS, key) for key in keys], "ConsistentRead": True}
        if only is not None:
            wanted |= {"ProjectionExpression": only, "ExpressionAttributeNames": {"#token": "token"}}
        answers = self._through(self._client.batch_get_item, {self._name: wanted}, "UnprocessedKeys")
        return [item for answer in answers for item in answer["Responses"].get(self._name, [])]

    def query(self, least: str, end: str | None, limit: int, start: Item | None) -> tuple[list[Item], Item | None]:
        """Return a page of items, in order, and where the next one starts; None if this was the last.

        Args:
            least: from this key on.
            end: up to this one, included; None for all.
            limit: at most so many. There may be fewer, because a page has 1 MB, and still more to come.
            start: what the page before returned.
        """
        condition, values = "#partition = :partition", {":partition": {"S": _KEYS}}
        names = {"#partition": "partition"}
        if least or end is not None:
            names["#key"] = "key"
            values[":least"] = {"S": least or "\x01"}  # no key is empty
            condition += " AND #key >= :least" if end is None else " AND #key BETWEEN :least AND :end"
        if end is not None:
            values[":end"] = {"S": end}
        answer = self._client.query(
            TableName=self._name,
            ConsistentRead=True,
            Limit=limit,
            KeyConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            **({} if start is None else {"ExclusiveStartKey": start}),
        )
        return answer["Items"], answer.get("LastEvaluatedKey")

    def put(self, key: str, value: bytes) -> None:
        """Write one value of any size."""
        item = self._with_parts(key, value)
        old = self._client.put_item(TableName=self._name, Item=item, ReturnValues="ALL_OLD")
        before = old.get("Attributes", {})
        # A request that the driver repeated finds what it wrote itself.
        if before.get("token") != item.get("token"):
            self._drop_parts([before])

    def put_if_absent(self, key: str, value: bytes) -> bool:
        """Write one value of any size unless the key exists, and return whether that was done."""
        item = self._with_parts(key, value)
        try:
            self._once.put_item(
                TableName=self._name,
                Item=item,
                ConditionExpression="attribute_not_exists(#key)",
                ExpressionAttributeNames={"#key": "key"},
            )
        except self._once.exceptions.ConditionalCheckFailedException:
            self._drop_parts([item])
            return False
        return True

    def _with_parts(self, key: str, value: bytes) -> Item:
        """Return the item of a key, having written its parts if it needs any."""
        if len(value) <= PART_BYTES:
            return {**_key(_KEYS, key), "value": {"B": value}}
        token = uuid.uuid4().hex
        pieces = [value[start : start + PART_BYTES] for start in range(0, len(value), PART_BYTES)]
        for number, piece in enumerate(pieces):
            item = {**_key(f"parts/{token}", f"{number:06}"), "value": {"B": piece}}
            self._client.put_item(TableName=self._name, Item=item)
        return {**_key(_KEYS, key), "parts": {"N": str(len(pieces))}, "token": {"S": token}}

    def _drop_parts(self, items: Iterable[Item]) -> None:
        """Remove the parts of items that are there no more, or never came to be."""
        keys = [
            _key(f"parts/{item['token']['S']}", f"{number:06}")
            for item in items
            if "token" in item
            for number in range(int(item["parts"]["N"]))
        ]
        for start in range(0, len(keys), WRITES):
            self._write_batch([{"DeleteRequest": {"Key": key}} for key in keys[start : start + WRITES]])

    def put_small(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Write at most `WRITES` values, each of at most `PART_BYTES`."""
        old = self.get_items([key for key, _ in items], _PARTS_ONLY)
        self._write_batch([{"PutRequest": {"Item": self._with_parts(key, value)}} for key, value in items])
        self._drop_parts(old)

    def delete(self, keys: Sequence[str]) -> None:
        """Remove at most `WRITES` keys."""
        old = self.get_items(keys, _PARTS_ONLY)
        self._write_batch([{"DeleteRequest": {"Key": _key(_KEYS, key)}} for key in keys])
        self._drop_parts(old)

    def _write_batch(self, requests: Sequence[Item]) -> None:
        for _ in self._through(self._client.batch_write_item, {self._name: requests}, "UnprocessedItems"):
            pass

    def _through(self, operation: Callable[..., Item], wanted: Item, left: str) -> Iterator[Item]:
        """Repeat a batch operation with what it left undone, until nothing is."""
        for attempt in range(_ATTEMPTS):
            answer = operation(RequestItems=wanted)
            yield answer
            wanted = answer.get(left, {})
            if not wanted:
                return
            time.sleep(random.uniform(0.5, 1) * min(_PAUSE * 2**attempt, 1))  # noqa: S311  # it spreads load
        raise StoreUnavailable(f"{self._shown}: the table's throughput is used up")


def _key(partition: str, key: str) -> Item:
    return {"partition": {"S": partition}, "key": {"S": key}}
