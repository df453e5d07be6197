"""A store is named by a URL: a wrong one is refused early, in one line, and never shows a password."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.errors import UsageError
from goflow_trio.stores import check_store_url, hide_password, open_backend
from goflow_trio.stores.base import Durability, check_items, check_key, prefix_end
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.stores.sqlite import file_of

BAD = {
    "": "no kind of store; write memory://",
    "goflow.db": "no kind of store",
    "://x": "no kind of store",
    "/srv/goflow.db": "no kind of store",
    "nosql://host/db": r"no store is called 'nosql'; known are dynamodb, file, kv",
    "sqlite://[::1/db": "not a valid URL",
    "memory://name": "no name or options",
    "memory://?x=1": "no name or options",
    "sqlite:goflow.db": "three slashes",
    "sqlite:/goflow.db": "three slashes",
    "sqlite://": "three slashes",
    "sqlite://goflow.db": "three slashes",
    "sqlite://user:s3cret@host/goflow.db": "three slashes",
    "sqlite:///": "name a file",
    "sqlite:///:memory:": "write memory://",
    "sqlite:///goflow.db?mode=ro": "no options",
    "sqlite:///goflow.db#x": "no options",
    "sqlite:///a%00b": "not the name of a file",
    "sqlite:///data/": "not the name of a file",
    "postgresql://ann:s3cret@db:port/x": "not a valid URL",
    "postgresql://ann:s3cret@db/x?table=a-b": "a table's name has letters",
    "postgresql://ann:s3cret@db/x?nosuchoption=1": "libpq cannot read this; its own options here are table, timeout",
    "postgresql://ann:s3cret@db/x?timeout=soon": "'timeout' is a number of seconds above 0, not 'soon'",
    "postgresql://ann:s3cret@db/x?connections=0": "'connections' is a whole number from 1",
    "postgresql://ann:s3cret@db/x#y": "a part after #",
    "redis://:s3cret@db/zero": "number of a database: redis://localhost:6379/0",
    "redis://:s3cret@db?allow_lossy=perhaps": "true or false, not 'perhaps'",
    "redis://:s3cret@db?prefix={a}": "without { and }",
    "redis://:s3cret@db?db=1": "no option is called 'db'; known are allow_lossy, ca_file, prefix, timeout",
    "valkey://:s3cret@db?timeout=1&timeout=2": "'timeout' is given twice",
    "s3:///folder": "name a bucket",
    "s3://key:s3cret@bucket/folder": "credentials come from the environment",
    "s3://bucket?endpoint_url=host": "begins with http:// or https://",
    "s3://bucket?access_key=s3cret": "no option is called 'access_key'",
    "dynamodb://": "name a table",
    "dynamodb://key:s3cret@goflow": "name a table",
    "dynamodb://goflow/folder": "name a table",
    "dynamodb://goflow?create=maybe": "true or false",
    "file://host/folder": "three slashes and its absolute path",
    "file:folder": "three slashes and its absolute path",
    "file:///": "three slashes and its absolute path",
    "file:///srv/goflow?x=1": "no option is called 'x'",
}


@pytest.mark.parametrize(("url", "message"), BAD.items(), ids=BAD)
async def test_a_bad_url_is_refused_in_one_line(url, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as early:
        check_store_url(url)
    with pytest.raises(UsageError, match=message) as late:
        await open_backend(url)
    for error in (early.value, late.value):
        assert "\n" not in str(error)
        assert "s3cret" not in str(error)
        assert "s3cret" not in str(error.__cause__)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        *("memory://", "MEMORY://", "sqlite:///goflow.db", "sqlite:////srv/goflow.db", "file:///srv/goflow"),
        *("postgresql://ann:s3cret@db/x?table=a.b&sslmode=require", "postgres://db", "redis://db", "rediss://db:1/2"),
        *("valkey://u:p@db?allow_lossy=yes", "s3://bucket", "s3://bucket/a/b?region=eu-1", "dynamodb://goflow"),
    ],
)
def test_a_good_url_is_accepted(url):
    check_store_url(url)


def test_the_path_in_a_sqlite_url():
    assert file_of("sqlite:///goflow.db") == "goflow.db"
    assert file_of("sqlite:////srv/a%20b%3F%25.db") == "/srv/a b?%.db"
    assert file_of("sqlite:///C:/data/goflow.db") == "C:/data/goflow.db"
    assert file_of("sqlite:///../a:b@c.db") == "../a:b@c.db"


@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [
        ("postgresql://ann:s3cret@db/x", "psycopg", "postgres"),
        ("redis://:s3cret@db", "coredis", "redis"),
        ("s3://bucket", "obstore", "s3"),
        ("dynamodb://goflow", "boto3", "dynamodb"),
    ],
)
def test_a_missing_driver_is_named_with_its_extra(url, driver, extra, monkeypatch):
    monkeypatch.delitem(sys.modules, f"goflow_trio.stores.{extra}", raising=False)
    for module in {driver, *(module for module in sys.modules if module.startswith(f"{driver}."))}:
        monkeypatch.setitem(sys.modules, module, None)  # what makes an import fail
    with pytest.raises(UsageError, match=rf"{driver}.*pip install 'goflow-trio\[{extra}\]'") as error:
        check_store_url(url)
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


async def test_a_backend_is_passed_through():
    backend = MemoryBackend()
    check_store_url(backend)
    assert await open_backend(backend) is backend


@pytest.mark.parametrize("store", [None, 3, object()])
async def test_what_is_neither_url_nor_backend_is_refused(store, tmp_path):
    with pytest.raises(UsageError, match="a URL"):
        check_store_url(store)
    with pytest.raises(UsageError, match="a URL"):
        await open_backend(store)


PLUGIN = """
from goflow_trio.stores.memory import MemoryBackend
async def open_it(url):
    backend = MemoryBackend()
    await backend.put({"url": url.encode()})
    return backend
"""


async def test_another_package_can_add_a_scheme(tmp_path, monkeypatch):
    (tmp_path / "plugged_store.py").write_text(PLUGIN)
    info = tmp_path / "plugged_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[goflow_trio.stores]\nplugged = plugged_store:open_it\nbroken = plugged_store:absent\nsqlite = not:used\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    check_store_url("plugged://host/x")
    backend = await open_backend("plugged://host/x")
    assert await backend.get("url") == b"plugged://host/x"
    with pytest.raises(UsageError, match=r"plugged_store:absent.*cannot be imported") as error:
        await open_backend("broken://ann:s3cret@host")
    assert "s3cret" not in str(error.value)
    with pytest.raises(UsageError, match=r"known are broken, dynamodb, file, .*plugged"):
        check_store_url("nosql://")
    check_store_url("sqlite:///goflow.db")  # our own schemes cannot be taken over


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
        ("postgresql://db/x", "postgresql://db/x"),
        ("postgresql://ann@db:5432/x", "postgresql://ann@db:5432/x"),
        ("postgresql://ann:s3cret@db:5432/x", "postgresql://ann:***@db:5432/x"),
        ("redis://:s3cret@db/0", "redis://:***@db/0"),
        ("x://ann:s3@cret/s3cret?s3cret@db", "x://ann:***@db"),
        ("ann:s3cret@db", "ann:***@db"),
        ("x://db?user=a&password=s3cret&b=c", "x://db?user=a&password=***&b=c"),
        ("x://db?aws_secret_access_key=s3cret#f", "x://db?aws_secret_access_key=***#f"),
        ("x://ann:s3cret@[::1", "x://ann:***@[::1"),
    ],
)
def test_passwords_are_hidden(url, shown):
    assert hide_password(url) == shown


@given(st.text(), st.text(alphabet=st.characters(min_codepoint=33), min_size=1))
def test_a_password_never_shows(user, password):
    secret = f"s3cret{password}s3cret"
    assert "s3cret" not in hide_password(f"x://{user.replace('/', '')}:{secret}@host/db".replace("://:", "://u:"))


KEYS = st.text(
    alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from("\ud7ff\ue000\U0010ffffab")
)


@given(KEYS, KEYS)
def test_prefix_end_bounds_exactly_the_keys_with_the_prefix(prefix, key):
    end = prefix_end(prefix)
    for text in (key, prefix + key):
        inside = text >= prefix and (end is None or text < end)
        assert inside == text.startswith(prefix)
    if end is not None:
        check_key(end)


def test_durability_reads_well():
    assert str(Durability(survives_kill=True, survives_power_cut=False, detail="AOF everysec")) == (
        "after a kill: kept; after a power cut: may be lost (AOF everysec)"
    )


def test_the_largest_key_is_counted_in_bytes():
    check_items({"\u6f22" * 341: b""})
    with pytest.raises(UsageError, match="1026 bytes; a key has 1 to 1024"):
        check_items({"\u6f22" * 342: b""})


async def test_a_memory_store_stays_quick_with_many_keys():
    backend = MemoryBackend()
    await backend.put({f"old/{number:06}": b"" for number in range(100_000)})
    for turn in range(20):
        await backend.put({f"new/{turn}/{number}": b"" for number in range(500)})
        await backend.delete([f"old/{turn * 500 + number:06}" for number in range(500)])
        assert len(await backend.scan(f"new/{turn}/")) == 500
    assert (await backend.scan("old/", limit=1))[0][0] == "old/010000"
