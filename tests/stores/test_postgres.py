"""What PostgreSQL adds to the contract: whose table it is, what its settings promise, and what an outage looks like."""

import os
import re
import signal
import uuid
from functools import partial

import psycopg
import pytest
import trio

from goflow_trio.errors import StoreError, StoreIncompatible, StoreUnavailable
from goflow_trio.stores import open_backend
from goflow_trio.stores.postgres import open_postgres
from tests.patience import AGES, SOON, in_the_end, until


@pytest.fixture
def table():
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def backend(postgres_url, table):
    backend = await open_postgres(postgres_url, table=table, operation_timeout=SOON)
    yield backend
    await backend.aclose()


@pytest.fixture
def admin(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


async def test_a_foreign_table_is_left_untouched(postgres_url, table, admin):
    admin.execute(f"CREATE TABLE {table} (key text PRIMARY KEY, value bytea)")  # not COLLATE "C"
    admin.execute(f"INSERT INTO {table} VALUES ('a', 'b')")
    with pytest.raises(StoreIncompatible, match=rf"{table}.*is not a store of goflow-trio.*\?table="):
        await open_backend(f"{postgres_url}?table={table}")
    assert admin.execute(f"SELECT * FROM {table}").fetchall() == [("a", b"b")]


async def test_a_table_can_be_in_a_schema(postgres_url, admin):
    schema = f"s{uuid.uuid4().hex[:12]}"
    admin.execute(f"CREATE SCHEMA {schema}")
    backend = await open_backend(f"{postgres_url}?table={schema}.Executions")
    await backend.put({"a": b"1"})
    await backend.aclose()
    assert admin.execute(f'SELECT * FROM {schema}."Executions"').fetchall() == [("a", b"1")]


async def test_a_table_that_exists_needs_no_right_to_make_one(postgres_url, table, admin):
    await (await open_postgres(postgres_url, table=table)).aclose()
    admin.execute(f"CREATE ROLE {table}_user LOGIN PASSWORD 's3cret'")
    admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {table}_user")
    url = postgres_url.replace("goflow:", f"{table}_user:")
    backend = await open_postgres(url, table=table)
    await backend.put({"a": b"1"})
    await backend.aclose()
    with pytest.raises(StoreError, match="permission denied"):
        await open_postgres(url, table=f"{table}_other")


@pytest.mark.parametrize(("setting", "kept"), [("off", False), ("local", True)])
async def test_what_survives_a_power_cut_is_read_from_the_settings(postgres_url, table, setting, kept):
    backend = await open_backend(f"{postgres_url}?table={table}&options=-csynchronous_commit%3D{setting}")
    assert backend.durability.survives_kill
    assert backend.durability.survives_power_cut == kept
    assert f"synchronous_commit={setting}" in str(backend.durability)
    await backend.aclose()


async def test_a_database_with_another_encoding_is_refused(postgres_url, table, admin):
    admin.execute(f"CREATE DATABASE {table} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(StoreIncompatible, match=r"encoding is LATIN1.*ENCODING 'UTF8'"):
        await open_backend(postgres_url.replace("/postgres", f"/{table}"))


@pytest.mark.parametrize("wrong", [("s3cret@", "s3cretwrong@"), ("/postgres$", "/absent"), (r":\d+/", ":1/")])
async def test_a_server_that_does_not_let_us_in_is_named_without_the_password(postgres_url, wrong):
    url = re.sub(*wrong, postgres_url)
    with pytest.raises(StoreUnavailable, match=r"postgresql://goflow:\*\*\*@127") as error:
        await open_backend(url)
    assert "s3cret" not in f"{error.value} {error.value!r} {error.value.__cause__}"
    assert "\n" not in str(error.value)


async def test_repr_and_errors_hide_the_password(backend, table, admin):
    assert repr(backend).startswith("<PostgresBackend 'postgresql://goflow:***@127")
    admin.execute(f"DROP TABLE {table}")
    with pytest.raises(StoreError, match="does not exist") as error:
        await backend.put({"a": b"1"})
    assert not isinstance(error.value, StoreUnavailable)
    assert "s3cret" not in str(error.value)


async def test_a_lock_that_is_not_given_back_is_not_waited_for_for_ever(postgres_url, table, admin):
    quick = partial(open_postgres, postgres_url, table=table, operation_timeout=0.5)
    backend = await in_the_end(quick, StoreUnavailable)
    await in_the_end(partial(backend.put, {"a": b"1"}), StoreUnavailable)
    admin.execute("BEGIN")
    admin.execute(f"LOCK TABLE {table}")
    with trio.fail_after(SOON):
        for operation in (backend.put({"a": b"2"}), backend.put_if_absent("b", b""), backend.get("a")):
            with pytest.raises(StoreUnavailable):
                await operation
    admin.execute("ROLLBACK")
    await in_the_end(partial(backend.put, {"a": b"3"}), StoreUnavailable)
    assert await in_the_end(partial(backend.get_many, ["a", "b"]), StoreUnavailable) == {"a": b"3"}
    await backend.aclose()


async def test_connections_that_were_cut_are_replaced_unnoticed(backend, admin):
    async def work(number):
        await backend.put({f"key/{number}": b"1"})

    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(work, number)
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'goflow-trio'"
        assert admin.execute(cut).rowcount > 0
        assert len(await backend.scan("key/")) == 8


async def test_a_claim_whose_connection_is_cut_has_an_unknown_outcome(backend, table, admin, postgres_url):
    locker = psycopg.connect(postgres_url)
    locker.execute(f"LOCK TABLE {table}")
    outcome = []

    async def claim():
        with pytest.raises(StoreUnavailable):
            await backend.put_if_absent("claim", b"mine")
        outcome.append("unknown")

    waiting = (
        f"SELECT pid FROM pg_stat_activity WHERE query LIKE 'INSERT INTO \"{table}\"%' AND wait_event_type = 'Lock'"
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(claim)
        found = await until(lambda: admin.execute(waiting).fetchall())
        admin.execute("SELECT pg_terminate_backend(%s)", found[0])
    locker.close()
    assert outcome == ["unknown"]
    assert await backend.put_if_absent("claim", b"mine")  # it was not written, and the same call may be repeated


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_after_a_restart_it_goes_on_by_itself(postgres_server, table, how):
    backend = await open_postgres(postgres_server.url, table=table, operation_timeout=AGES)
    await backend.put({"a": b"1"})
    postgres_server.stop(how)
    with trio.fail_after(SOON):
        for operation in (backend.get("a"), backend.put({"a": b"2"}), backend.put_if_absent("b", b"")):
            with pytest.raises(StoreUnavailable):
                await operation
    postgres_server.start()
    with trio.fail_after(SOON):
        await backend.put({"a": b"3"})
        assert await backend.get("a") == b"3"
    await backend.aclose()


async def test_a_server_that_has_stopped_answering_is_given_up(postgres_server, table, admin):
    quick = partial(open_postgres, postgres_server.url, table=table, operation_timeout=1)
    backend = await in_the_end(quick, StoreUnavailable)
    await in_the_end(partial(backend.put, {"a": b"1"}), StoreUnavailable)
    [(pid,)] = admin.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'goflow-trio'").fetchall()
    os.kill(pid, signal.SIGSTOP)
    try:
        with trio.fail_after(SOON), pytest.raises(StoreUnavailable, match="has not answered for 1 s"):
            await backend.get("a")
        assert await in_the_end(partial(backend.get, "a"), StoreUnavailable) == b"1", "a new connection is not stopped"
    finally:
        os.kill(pid, signal.SIGCONT)
    await backend.aclose()


async def test_a_read_only_server_is_unavailable_and_passes(postgres_url, table, admin):
    backend = await open_postgres(postgres_url, table=table)
    user = postgres_url.partition("//")[2].partition(":")[0]
    admin.execute(f"ALTER ROLE {user} SET default_transaction_read_only = on")
    try:
        await backend.put({"a": b"0"})  # what is connected goes on
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'goflow-trio'")
        with pytest.raises(StoreUnavailable, match="read-only"):
            await backend.put({"a": b"1"})
    finally:
        admin.execute(f"ALTER ROLE {user} RESET default_transaction_read_only")
    await backend.put({"a": b"2"})
    await backend.aclose()


async def test_no_connection_is_left_behind(postgres_url, table, admin):
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'goflow-trio'"
    backend = await open_postgres(postgres_url, table=table, connections=3)
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(backend.put, {f"{number}": b""})
    assert 1 <= admin.execute(count).fetchone()[0] <= 3
    await backend.aclose()
    await until(lambda: admin.execute(count).fetchone() == (0,))
