"""What docs/stores.md and the README say of URLs and options is so."""

import re
from pathlib import Path

import pytest

from goflow_trio.stores import MODULES, aws, check_store_url, dynamodb, postgres, redis, s3
from goflow_trio.stores.options import TIMEOUT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/stores.md").read_text()


def section(title):
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def test_every_scheme_is_in_the_page_and_the_readme():
    readme = (ROOT / "README.md").read_text()
    for scheme in set(MODULES) - {"postgres", "valkeys", "kv+rediss"}:
        assert f"{scheme}://" in PAGE, scheme
        assert f"{scheme}://" in readme or scheme.startswith("kv+"), scheme


@pytest.mark.parametrize("url", re.findall(r"^[a-z0-9+]+://\S+$", PAGE, re.MULTILINE))
def test_urls_in_the_page_can_be_used(url):
    check_store_url(url)


@pytest.mark.parametrize(
    ("title", "module", "names"),
    [
        ("PostgreSQL", postgres, postgres._OURS),
        ("Redis and Valkey", redis, redis._OPTIONS),
        ("S3 and what speaks S3", s3, aws.OPTIONS),
        ("DynamoDB", dynamodb, dynamodb._OPTIONS),
    ],
)
def test_every_option_is_in_the_page_with_its_default(title, module, names):
    rows = [line for line in section(title).splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert documented == set(names)
    [timeout] = [row for row in rows if "`timeout`" in row]
    assert f"| {getattr(module, 'TIMEOUT', TIMEOUT):g} |" in timeout
