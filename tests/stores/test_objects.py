"""What S3 and DynamoDB add to the contract: what they have to be able to do, and what they leave behind."""

import importlib
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from goflow_trio.errors import StoreError, StoreIncompatible, StoreUnavailable
from goflow_trio.stores import open_backend
from goflow_trio.stores.dynamodb_table import PART_BYTES
from tests.patience import SOON

boto3 = pytest.importorskip("boto3")


@pytest.fixture
def name():
    return f"t{uuid.uuid4().hex[:12]}"


def client_of(service, url):
    options = parse_qs(urlsplit(url).query)
    return boto3.session.Session().client(service, endpoint_url=options["endpoint_url"][0], region_name="us-east-1")


class ForgetfulS3(BaseHTTPRequestHandler):
    """Takes every object and ignores every condition."""

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


async def test_a_service_without_conditional_writes_is_refused(s3_url):
    with ThreadingHTTPServer(("127.0.0.1", 0), ForgetfulS3) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(StoreIncompatible, match="conditional writes"):
            await open_backend(f"s3://bucket?endpoint_url=http://127.0.0.1:{server.server_port}&region=us-east-1")
        server.shutdown()


async def test_a_bucket_that_does_not_exist_is_named(s3_url):
    url = f"s3://absent-{uuid.uuid4().hex[:8]}?{urlsplit(s3_url).query}"
    with pytest.raises(StoreError, match=r"s3://absent.*create the bucket") as error:
        await open_backend(url)
    assert not isinstance(error.value, StoreUnavailable)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["s3://bucket", "dynamodb://goflow"])
async def test_a_service_that_is_not_there_is_unavailable(url, s3_url):
    with trio.fail_after(SOON), pytest.raises(StoreUnavailable) as error:
        await open_backend(f"{url}?endpoint_url=http://127.0.0.1:1&region=us-east-1&timeout=2")
    assert "s3cret" not in str(error.value)


async def test_other_objects_in_the_bucket_are_no_keys(s3_url, name):
    client = client_of("s3", s3_url)
    bucket = urlsplit(s3_url).netloc
    for key in ("README.md", "a b/c", "UPPER"):
        client.put_object(Bucket=bucket, Key=f"{name}/{key}", Body=b"not ours")
    backend = await open_backend(s3_url.replace("?", f"/{name}?"))
    await backend.put({"log/0001": b"1"})
    assert await backend.scan("") == [("log/0001", b"1")]
    assert client.get_object(Bucket=bucket, Key=f"{name}/log.2f0001")["Body"].read() == b"1"
    await backend.aclose()
    assert repr(backend) == f"<S3Backend 's3://{bucket}/{name}' closed>"
    client.close()


async def test_folders_of_a_bucket_are_stores_of_their_own(s3_url, name):
    stores = [await open_backend(s3_url.replace("?", f"/{name}{end}?")) for end in ("", "2", "/inner")]
    for number, store in enumerate(stores[:2]):
        await store.put({"a": b"%d" % number})
    assert [await store.scan("") for store in stores] == [[("a", b"0")], [("a", b"1")], []]
    for store in stores:
        await store.aclose()


async def test_a_table_of_something_else_is_refused(dynamodb_url, name):
    client = client_of("dynamodb", dynamodb_url)
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(StoreIncompatible, match="not a store of goflow-trio"):
        await open_backend(dynamodb_url.replace("//", f"//{name}", 1))
    client.close()


async def test_a_table_is_made_only_if_that_is_wanted(dynamodb_url, name):
    url = dynamodb_url.replace("//", f"//{name}", 1)
    with pytest.raises(StoreError, match=r"create the table, or leave out create=false"):
        await open_backend(f"{url}&create=false")
    await (await open_backend(url)).aclose()
    await (await open_backend(f"{url}&create=false")).aclose()


async def test_no_part_of_a_value_is_left_behind(dynamodb_url, name):
    client = client_of("dynamodb", dynamodb_url)
    backend = await open_backend(dynamodb_url.replace("//", f"//{name}", 1))

    def items():
        pages = client.get_paginator("scan").paginate(TableName=name, Select="COUNT")
        return sum(page["Count"] for page in pages)

    large = bytes(2 * PART_BYTES + 1)
    await backend.put({"a": large, "b": large, "c": b"small"})
    assert items() == 3 + 2 * 3
    await backend.put({"a": large})
    assert items() == 3 + 2 * 3
    await backend.put({"a": b"small now", "c": large[:PART_BYTES]})
    assert items() == 3 + 3
    assert not await backend.put_if_absent("b", large)
    assert items() == 3 + 3
    await backend.delete(["a", "b", "c"])
    assert items() == 0
    await backend.aclose()
    client.close()


async def test_a_value_whose_parts_are_replaced_while_it_is_read_is_never_mixed(dynamodb_url, name):
    backend = await open_backend(dynamodb_url.replace("//", f"//{name}", 1))
    size = 2 * PART_BYTES
    await backend.put({"a": b"0" * size})

    async def write():
        for turn in range(1, 5):
            await backend.put({"a": b"%d" % turn * size})
        nursery.cancel_scope.cancel()

    async def read():
        while True:
            value = await backend.get("a")
            assert value is not None
            assert value == value[:1] * size

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(read)
    await backend.aclose()


def test_what_the_driver_of_s3_says_is_told_without_its_internals():
    errors = pytest.importorskip("obstore.exceptions")
    s3 = importlib.import_module("goflow_trio.stores.s3")
    asked = "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 13ms"
    error = s3._map(
        "store 's3://b/p'", errors.BaseError(f'{asked}\n\nDebug source:\nGeneric {{ store: "S3", RetryError }}')
    )
    assert str(error) == (
        f"store 's3://b/p': {asked}; there are no credentials in the environment, and this machine gives none: "
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )
