"""The shop's back office under load: it changes orders one after the other, and keeps what each request met with."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import httpx

#: Seconds between two changes of one writer. Four of them make some 100 changes a second, a busy shop's hour in a
#: minute, and leave two cores time for the servers.
PACE = 0.03

#: The two statuses that an order may go between for ever: a delivery that fails and is tried again.
AGAIN = {"shipped": "out_for_delivery", "out_for_delivery": "shipped"}

#: In place of a status: the connection broke before an answer came.
NO_ANSWER = 0


class Answer(NamedTuple):
    """What became of one PATCH: `note` names it."""

    note: str
    order: str
    status: int
    content_type: str
    body: dict[str, Any]

    @property
    def applied(self) -> bool:
        return self.status == 200 and bool(self.body["applied"])


@dataclass
class Log:
    """The answers so far, in the order in which they came."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    def applied(self) -> int:
        return sum(answer.applied for answer in self.answers)


class Writer:
    """Changes its own orders, at the first of `urls` (`http://…`) that answers, until it is told to stop."""

    _numbers = itertools.count(1)

    def __init__(self, *, urls: Sequence[str], token: str, orders: Sequence[str], log: Log) -> None:
        self.urls = list(urls)
        self._orders = dict.fromkeys(orders, "out_for_delivery")
        self._log = log
        self._stopped = asyncio.Event()
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,  # a request that hangs is to be seen as slow, not as broken
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        for order in itertools.cycle(self._orders):
            await self.change(order)
            try:
                async with asyncio.timeout(PACE):
                    await self._stopped.wait()
            except TimeoutError:
                continue
            return

    async def change(self, order: str, note: str = "") -> Answer:
        """Move one order to the other of its two statuses, and note how that went."""
        note = f"{note} {next(self._numbers)}".strip()
        status, content_type = NO_ANSWER, ""
        body: dict[str, Any] = {}
        try:
            answer = await self._http.patch(
                f"{self.urls[0]}/api/v1/orders/{order}",
                json={"status": AGAIN[self._orders[order]], "note": note},
            )
            status, content_type, body = answer.status_code, answer.headers["content-type"], answer.json()
        except httpx.TransportError:
            self.urls.append(self.urls.pop(0))
        if status == 200:
            self._orders[order] = body["status"]
        done = Answer(note, order, status, content_type, body)
        self._log.answers.append(done)
        return done
