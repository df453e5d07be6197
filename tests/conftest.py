"""What all tests share: what is left out of the environment, how properties are tried, and real servers as fixtures.

Whoever runs the tests may have colours, a narrow terminal, a proxy, or a server of their own: none of that is here.

A property is tried with the same examples in every run, and none of them is too slow: a run tells of the code, neither
of luck nor of what else the machine does. To look for new ones: `pytest --hypothesis-profile=search tests/core`.

Real servers are started by the first test that asks, and ended with the run.

A server that is named by an environment variable is used instead of one of ours, and must not be stopped by a test:

| variable | like |
|---|---|
| `GOFLOW_TEST_POSTGRES` | `postgresql://user:password@host/database` |
| `GOFLOW_TEST_REDIS` | `redis://:password@host:6379/0` |
| `GOFLOW_TEST_S3` | `s3://bucket?endpoint_url=http://host:9000`, credentials as for any AWS client |
| `GOFLOW_TEST_DYNAMODB` | `dynamodb://?endpoint_url=http://host:8000`; tables are made and dropped |

Where neither is to be had, tests that need one are skipped with the reason; `--require-servers` (or
`GOFLOW_REQUIRE_SERVERS=1`) makes that a failure.
"""

import os
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest
from hypothesis import HealthCheck, settings

from goflow_trio.core import limits
from tests import servers
from tests.patience import SOON

OURS = ("GOFLOW_TEST_", "GOFLOW_REQUIRE_", "GOFLOW_CHROMIUM", "GOFLOW_SKIP_")
OF_A_TERMINAL = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"}


def changes_what_is_tested(name):
    """Tell whether a variable of the environment says how programs are to look, where they connect or what they run."""
    is_for_programs = name.startswith(("GOFLOW_", "PG", "DASK_")) and not name.startswith(OURS)
    return is_for_programs or name in OF_A_TERMINAL or name.lower().endswith("_proxy")


for name in filter(changes_what_is_tested, list(os.environ)):
    del os.environ[name]

settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("steady", settings.get_profile("search"), derandomize=True)
settings.load_profile("steady")


def pytest_addoption(parser):
    parser.addoption(
        "--require-servers",
        action="store_true",
        default=os.environ.get("GOFLOW_REQUIRE_SERVERS", "") not in {"", "0"},
        help="fail, and do not skip, when a real server that a test needs cannot be started",
    )


@contextmanager
def running(make, config):
    """Start a server of ours (from the main thread, where pytest sets up fixtures) and end it afterwards."""
    try:
        server = make()
    except servers.Missing as missing:
        if config.getoption("--require-servers"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def patient(monkeypatch):
    """A slow disk, or a machine that stands still, is waited for: for tests that count on each submit to be taken."""
    for name in ("STALLED_SECONDS", "REFUSAL_SECONDS", "SUBMIT_SECONDS", "STORE_SECONDS"):
        monkeypatch.setattr(limits, name, SOON)


@pytest.fixture(scope="session")
def postgres_server(pytestconfig):
    """PostgreSQL of our own, which a test may stop and start."""
    with running(servers.postgres, pytestconfig) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(pytestconfig):
    """Valkey of our own, which a test may stop and start."""
    with running(servers.valkey, pytestconfig) as server:
        yield server


@pytest.fixture(scope="session")
def aws_server(pytestconfig):
    """moto of our own: S3 and DynamoDB. What it holds is gone when it is stopped."""
    with running(servers.moto, pytestconfig) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(request):
    """A PostgreSQL database; use a table of your own in it."""
    return os.environ.get("GOFLOW_TEST_POSTGRES") or request.getfixturevalue("postgres_server").url


@pytest.fixture(scope="session")
def redis_url(request):
    """A Redis or Valkey database; use a prefix of your own in it."""
    return os.environ.get("GOFLOW_TEST_REDIS") or request.getfixturevalue("redis_server").url


@pytest.fixture
def s3_url(request, monkeypatch):
    """A bucket; use a folder of your own in it: `{url}` has no folder, add one before its question mark."""
    given = os.environ.get("GOFLOW_TEST_S3")
    if given:
        return given
    endpoint = request.getfixturevalue("aws_server").url
    _use_test_credentials(monkeypatch)
    bucket = Request(f"{endpoint}/goflow-tests", method="PUT")  # making it again changes nothing
    with urlopen(bucket):
        return f"s3://goflow-tests?endpoint_url={endpoint}&region=us-east-1"


@pytest.fixture
def dynamodb_url(request, monkeypatch):
    """DynamoDB without a table: the table of your own goes before the question mark."""
    given = os.environ.get("GOFLOW_TEST_DYNAMODB")
    if given:
        return given
    endpoint = request.getfixturevalue("aws_server").url
    _use_test_credentials(monkeypatch)
    return f"dynamodb://?endpoint_url={endpoint}&region=us-east-1"


def _use_test_credentials(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
