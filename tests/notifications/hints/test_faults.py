"""The fault kit does to hints what it is told to, and nothing else."""

import asyncio
import logging
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.core.exceptions import ImproperlyConfigured

from notifications.hints.faults import FaultyLayer
from tests.polling import apoll

IN_MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1_000}}


async def sent_through(layer: FaultyLayer, *numbers: int) -> list[int]:
    """What one member of a group has received once each of `numbers` was sent to the group and none is on its way."""
    channel = await layer.new_channel()
    await layer.group_add("user.1", channel)
    for number in numbers:
        await layer.group_send("user.1", {"type": "stream.appended", "head": number})
    await apoll(lambda: not layer._late)
    received: list[int] = []
    # The in-memory layer delivers at once, and forgets a channel that has run empty: what is not there was never sent.
    while channel in layer.channels and not layer.channels[channel].empty():
        message: dict[str, Any] = await layer.receive(channel)
        received.append(message["head"])
    return received


async def test_without_rates_every_hint_passes_once_and_in_order():
    assert await sent_through(FaultyLayer(IN_MEMORY), 1, 2, 3) == [1, 2, 3]


async def test_a_layer_that_exists_already_can_be_wrapped():
    assert await sent_through(FaultyLayer(InMemoryChannelLayer()), 1) == [1]


async def test_a_dropped_hint_reaches_nobody():
    assert await sent_through(FaultyLayer(IN_MEMORY, drop=1), 1, 2) == []


async def test_a_doubled_hint_comes_twice():
    assert await sent_through(FaultyLayer(IN_MEMORY, double=1), 1, 2) == [1, 1, 2, 2]


async def test_an_overtaken_hint_comes_after_the_next_one():
    layer = FaultyLayer(IN_MEMORY, reorder=1)
    channel = await layer.new_channel()
    await layer.group_add("user.1", channel)
    await layer.group_send("user.1", {"type": "stream.appended", "head": 1})
    await asyncio.sleep(0)  # it begins to wait for the next one
    layer._reorder = 0
    await layer.group_send("user.1", {"type": "stream.appended", "head": 2})
    assert [(await layer.receive(channel))["head"] for _ in range(2)] == [2, 1]


async def test_an_overtaken_hint_that_nothing_follows_comes_all_the_same():
    assert await sent_through(FaultyLayer(IN_MEMORY, reorder=1, delay_seconds=0.01), 1) == [1]


async def test_delayed_hints_all_come():
    received = await sent_through(FaultyLayer(IN_MEMORY, delay=1, delay_seconds=0.05, seed=1), *range(50))
    assert received != sorted(received)
    assert sorted(received) == list(range(50))


async def test_a_hint_of_ones_choosing_is_lost():
    assert await sent_through(FaultyLayer(IN_MEMORY, lose="'head': 2"), 1, 2, 3) == [1, 3]


async def test_one_seed_gives_the_same_faults_again():
    runs = [
        await sent_through(FaultyLayer(IN_MEMORY, drop=0.3, double=0.3, seed=seed), *range(100)) for seed in (7, 7, 8)
    ]
    assert runs[0] == runs[1] != runs[2]


async def test_what_goes_wrong_is_logged(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "notifications.hints.faults")
    await sent_through(FaultyLayer(IN_MEMORY, drop=1), 1)
    assert "on purpose" in caplog.text
    assert "A hint to user.1 is dropped." in caplog.text


@pytest.mark.parametrize("rate", [1.5, -0.1])
def test_a_rate_that_is_none_is_refused(rate: float):
    with pytest.raises(ImproperlyConfigured, match="rate from 0 to 1"):
        FaultyLayer(IN_MEMORY, drop=rate)
