"""The start and the end of a server process (ASGI lifespan): its hub, the topics that are watched in it, and its loop
as the one that hints are sent on.

A project's ASGI application routes "lifespan" to `Lifespan()`. What else lives as long as the process, the project
brings as parts of its own. Without a lifespan there is no hub, and nobody can follow. So start uvicorn with
`--lifespan on`: a start that fails is then said.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from channels.layers import get_channel_layer

from notifications.delivery.hub import Hub
from notifications.delivery.topic import Topic, Watchers
from notifications.hints import publish
from notifications.sockets.inbound import ClientFrame, Frames

#: Entered at the start and left at the end, with what the consumers find in `scope["state"]`.
Part = Callable[[dict[str, Any]], AbstractAsyncContextManager[Any]]


@asynccontextmanager
async def engine(state: dict[str, Any], topics: Sequence[Topic], frames: Sequence[ClientFrame]) -> AsyncIterator[None]:
    """What each process has once: `state["hub"]`, `state["topics"]` by their names, `state["frames"]`, and
    `state["supervisors"]`, which a readiness probe may ask. Hints of this process's threads are sent on the running
    loop.
    """
    layer = get_channel_layer()
    hub = Hub(layer)
    watched = {topic.name: Watchers(topic, layer) for topic in topics}
    supervisors = [hub.supervisor, *(watchers.supervisor for watchers in watched.values())]
    state.update(hub=hub, topics=watched, frames=Frames(frames), supervisors=supervisors)
    await hub.start()
    publish.use_loop(asyncio.get_running_loop())
    try:
        yield
    finally:
        publish.use_loop(None)
        await hub.stop()
        for watchers in watched.values():
            await watchers.stop()


class Lifespan:
    """The ASGI application for the scope "lifespan": the engine first, then `parts` in turn, and back at the end.

    `frames` are the application's own that clients may send, beside the protocol's.
    """

    def __init__(self, *parts: Part, topics: Sequence[Topic] = (), frames: Sequence[ClientFrame] = ()) -> None:
        self._parts = parts
        self._topics = topics
        self._frames = frames

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        state = scope["state"]
        await receive()  # lifespan.startup
        async with AsyncExitStack() as stack:
            # An error ends the start: the server says it, and does not serve.
            await stack.enter_async_context(engine(state, self._topics, self._frames))
            for part in self._parts:
                await stack.enter_async_context(part(state))
            await send({"type": "lifespan.startup.complete"})
            await receive()  # lifespan.shutdown
        await send({"type": "lifespan.shutdown.complete"})
