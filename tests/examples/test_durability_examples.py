"""The examples of docs/durability.md that are files."""

from tests.examples.test_examples import load


async def test_store_outage(capsys, autojump_clock):
    await load("store_outage").main()
    refused, health, then = capsys.readouterr().out.splitlines()
    assert refused.startswith("refused: the store does not take writes now: no space left")
    assert (health, then) == ("health: store full", "then: successful written")
