"""How long a fault lasts, or a client stays away: part of the script, and no wait for something to happen.

The only place beside tests.polling that sleeps; tests wait for what they expect with `apoll`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def lasting(seconds: float) -> AsyncIterator[None]:
    """A block that takes `seconds` at least: something is broken for that long, whatever the test does meanwhile."""
    ends_at = time.monotonic() + seconds
    yield
    await asyncio.sleep(max(0.0, ends_at - time.monotonic()))
