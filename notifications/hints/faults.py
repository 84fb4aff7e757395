"""The fault kit: a channel layer that loses, doubles, delays and reorders hints on purpose, around any other layer.

To see that nothing breaks by it: in the fault tests of this project, and in anybody's own staging. Named in
`CHANNEL_LAYERS`, or switched on by `HINT_FAULTS` in the environment (docs/faults.md). It touches hints and nothing
else: groups and receiving are the inner layer's, and the log in the database is out of its reach.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import Any

from channels.layers import BaseChannelLayer
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)

#: Seconds by which a delayed hint is late at most. Long enough for hundreds of others to overtake it, and short of the
#: tail check's default interval, so that a delayed hint is not simply a lost one.
DELAY_SECONDS = 0.5


class FaultyLayer:
    """A channel layer whose `group_send` goes wrong at the given rates, from 0 (never) to 1 (always).

    `layer` is another layer, or the entry of `CHANNEL_LAYERS` that describes it. Each hint rolls the dice in turn:
    `drop` loses it; `double` sends it twice; `reorder` holds each of its copies back until the next hint has gone, or
    for `delay_seconds` when none goes; `delay` sends it up to `delay_seconds` late. `lose` is for a hint of one's
    choosing: whichever contains this text is lost, the others are left to the dice. The same `seed` and the same hints
    give the same faults, in each process. Every fault is logged.

    Raises `ImproperlyConfigured` for a rate that is none.
    """

    def __init__(
        self,
        layer: Any,
        *,
        drop: float = 0.0,
        double: float = 0.0,
        reorder: float = 0.0,
        delay: float = 0.0,
        delay_seconds: float = DELAY_SECONDS,
        lose: str = "",
        seed: int | None = None,
    ) -> None:
        for name, rate in {"drop": drop, "double": double, "reorder": reorder, "delay": delay}.items():
            if not 0 <= rate <= 1:
                raise ImproperlyConfigured(f"{name} is a rate from 0 to 1, not {rate}.")
        self._layer: BaseChannelLayer = (
            import_string(layer["BACKEND"])(**layer.get("CONFIG", {})) if isinstance(layer, dict) else layer
        )
        self._drop, self._double, self._reorder, self._delay = drop, double, reorder, delay
        self._delay_seconds = delay_seconds
        self._lose = lose
        self._dice = random.Random(seed)  # noqa: S311 -- chaos, not secrets
        self._next_has_gone = asyncio.Event()
        # A loop holds its tasks weakly; a hint on its way must not be collected.
        self._late: set[asyncio.Task[None]] = set()
        logger.warning("Hints go wrong on purpose (HINT_FAULTS, notifications.hints.faults); the log repairs that.")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """What the inner layer's does, or less, or more."""
        if self._rolls(self._drop) or (self._lose and self._lose in repr(message)):
            logger.info("A hint to %s is dropped.", group)
            return
        copies = 1
        if self._rolls(self._double):
            logger.info("A hint to %s is doubled.", group)
            copies = 2
        for _ in range(copies):
            if self._rolls(self._reorder):
                logger.info("A hint to %s is overtaken.", group)
                self._later(self._after_the_next(group, message))
            elif self._rolls(self._delay):
                logger.info("A hint to %s is delayed.", group)
                self._later(self._after(self._dice.random() * self._delay_seconds, group, message))
            else:
                await self._layer.group_send(group, message)
                self._next_has_gone.set()
                self._next_has_gone = asyncio.Event()

    def _rolls(self, rate: float) -> bool:
        return rate > 0 and self._dice.random() < rate

    def _later(self, sending: Any) -> None:
        task = asyncio.get_running_loop().create_task(sending)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _after_the_next(self, group: str, message: dict[str, Any]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._delay_seconds):
                await self._next_has_gone.wait()
        await self._send_late(group, message)

    async def _after(self, seconds: float, group: str, message: dict[str, Any]) -> None:
        await asyncio.sleep(seconds)
        await self._send_late(group, message)

    async def _send_late(self, group: str, message: dict[str, Any]) -> None:
        try:
            await self._layer.group_send(group, message)
        except Exception as error:  # any layer, any trouble: there is nobody left to tell, and a hint is only a hint
            logger.warning("A late hint is lost: %r", error)
