"""A shop under load: customers with orders, clients that follow them, writers that change them, and the one check.

Every fault test opens a shop, breaks something while clients follow and writers write, and ends with `Shop.check`: what
each client held before, plus what it was delivered, is what the database says now, in order, once.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.deployment import Deployment, Web, manage
from tests.faults.client import Client, Snapshot, all_connected, all_hold, cancelled
from tests.faults.transports import ByEventSource, ByLongPolling, ByWebSocket, Way
from tests.faults.writer import Log, Writer
from tests.polling import apoll

CUSTOMERS = [f"alice-{number:02}" for number in range(1, 13)]
ORDERS_EACH = 2
#: Two sockets for each customer, as two tabs: 24 clients.
SOCKETS_EACH = 2
#: Customers who have a third tab: a page with a plain `EventSource`.
WITH_EVENT_SOURCES = CUSTOMERS[:4]
#: Customers who have a third client, that polls. Two, since each poll costs as much as any request.
POLLING = CUSTOMERS[4:6]
WRITERS = 4
#: How many notifications one page of /notifications holds.
PAGE = 200

#: Run by `manage.py shell`: tokens are shown only where they are made, and twelve commands would take twelve seconds.
STOCK = """
import json
from datetime import timedelta
from django.contrib.auth import get_user_model
from knox.models import AuthToken
from orders import services
users, tokens = get_user_model(), {}
for customer in %(customers)r:
    for n in range(%(each)d):
        services.create_order(number=f"{customer}-{n}", customer=customer, status="out_for_delivery")
for name in [*%(customers)r, "staff"]:
    tokens[name] = AuthToken.objects.create(users.objects.get(username=name), expiry=timedelta(days=1))[1]
print("tokens:" + json.dumps(tokens))
"""


def stock(env: dict[str, str]) -> dict[str, str]:
    """Create the customers and their orders in the database of that environment; everybody's API token, staff's too."""
    script = STOCK % {"customers": CUSTOMERS, "each": ORDERS_EACH}
    printed = manage(env, "shell", "-v", "0", "-c", script)
    tokens: dict[str, str] = json.loads(printed.partition("tokens:")[2])
    return tokens


class Shop:
    """A deployment whose database is stocked. `webs` are the web processes that clients and writers go to."""

    def __init__(self, deployment: Deployment, tokens: dict[str, str]) -> None:
        self.deployment = deployment
        self.tokens = tokens
        self.webs: list[Web] = []
        self._http = httpx.AsyncClient(trust_env=False, timeout=30)

    async def close(self) -> None:
        await self._http.aclose()
        self.deployment.close()

    def web(self, **settings: str) -> Web:
        """Start one more web process."""
        web = self.deployment.web(**settings)
        self.webs.append(web)
        return web

    @property
    def orders(self) -> list[str]:
        return [f"{customer}-{n}" for customer in CUSTOMERS for n in range(ORDERS_EACH)]

    # -- Who comes -------------------------------------------------------------------------------------------------

    def client(self, customer: str, urls: Sequence[str] = (), way: Way | None = None) -> Client:
        """A client that has loaded nothing yet. `urls` default to the web processes', `way` to a WebSocket."""
        return Client(
            customer=customer,
            token=self.tokens[customer],
            urls=urls or [web.url for web in self.webs],
            way=way or ByWebSocket(),
            snapshot=lambda: self.snapshot(customer),
        )

    @asynccontextmanager
    async def following(
        self, urls: Sequence[str] = (), *, sockets_each: int = SOCKETS_EACH
    ) -> AsyncIterator[list[Client]]:
        """The clients of all customers, connected, until the block ends."""
        clients = [self.client(customer, urls) for customer in CUSTOMERS for _ in range(sockets_each)]
        clients += [self.client(customer, urls, ByEventSource()) for customer in WITH_EVENT_SOURCES]
        clients += [self.client(customer, urls, ByLongPolling()) for customer in POLLING]
        async with self._connected(clients):
            yield clients

    @asynccontextmanager
    async def joined_by(self, customer: str) -> AsyncIterator[list[Client]]:
        """Three more clients of a customer, that come now: one of each kind."""
        clients = [self.client(customer, way=way) for way in (ByWebSocket(), ByEventSource(), ByLongPolling())]
        async with self._connected(clients):
            yield clients

    @asynccontextmanager
    async def _connected(self, clients: Sequence[Client]) -> AsyncIterator[None]:
        await asyncio.gather(*(client.load() for client in clients))
        tasks = [asyncio.create_task(client.follow()) for client in clients]
        try:
            await all_connected(clients)
            yield
        finally:
            await cancelled(*tasks)

    @asynccontextmanager
    async def writing(self, urls: Sequence[str] = (), *, writers: int = WRITERS) -> AsyncIterator[Log]:
        """Orders change until the block ends, at a pace; the log tells what the requests met with."""
        log = Log()
        async with AsyncExitStack() as stack:
            team = [
                await stack.enter_async_context(self._writer(self.orders[n::writers], log, urls))
                for n in range(writers)
            ]
            tasks = [asyncio.create_task(writer.run()) for writer in team]
            stack.push_async_callback(cancelled, *tasks)
            # A load that has begun: whatever is broken next is broken under it.
            await self.more(log, 20)
            yield log
            for writer in team:
                writer.stop()
            await asyncio.gather(*tasks)

    def _writer(self, orders: Sequence[str], log: Log, urls: Sequence[str] = ()) -> Writer:
        return Writer(urls=urls or [web.url for web in self.webs], token=self.tokens["staff"], orders=orders, log=log)

    async def change(self, customer: str, log: Log, note: str = "") -> None:
        """One change of one of the customer's orders."""
        number = f"{customer}-0"
        async with self._writer([number], log) as writer:
            # The writer may have guessed the order's status wrong; the answer tells it.
            while not (await writer.change(number, note)).applied:
                continue

    async def more(self, log: Log, changes: int = 50) -> None:
        """Wait until so many more changes have been applied."""
        enough = log.applied() + changes
        await apoll(
            lambda: log.applied() >= enough,
            within=40,
            saying=lambda: f"{enough - log.applied()} changes more; answers so far: {log.statuses}",
        )

    async def place(self, customer: str, number: str) -> None:
        """One more order of a customer's, which no writer changes."""
        answer = await self._http.post(
            f"{self.webs[0].url}/api/v1/orders",
            json={"number": number, "customer": customer},
            headers={"Authorization": f"Bearer {self.tokens['staff']}"},
        )
        assert answer.status_code == 201, answer.text

    # -- What is so, over HTTP -------------------------------------------------------------------------------------

    async def history(self, number: str, user: str) -> list[dict[str, Any]]:
        """The whole history of an order, in the order of its recording."""
        history: list[dict[str, Any]] = []
        query: dict[str, Any] = {"limit": PAGE}
        while query:
            page = await self.get(f"orders/{number}/history", user, **query)
            history += page["results"]
            query = dict(parse_qsl(urlsplit(page["next"] or "").query))
        return history[::-1]

    async def get(self, path: str, user: str, **query: Any) -> Any:
        """The JSON at a path of the API, asked as that user, as soon as a web process answers."""
        token = self.tokens[user]
        found: list[Any] = []

        async def answered() -> bool:
            for web in self.webs:
                try:
                    answer = await self._http.get(
                        f"{web.url}/api/v1/{path}", params=query, headers={"Authorization": f"Bearer {token}"}
                    )
                except httpx.TransportError:
                    continue
                if answer.status_code == 503:
                    continue
                assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
                found.append(answer.json())
                return True
            return False

        await apoll(answered, every=0.1, saying=f"no answer to {path}")
        return found[0]

    async def status(self, path: str) -> int:
        """What the first web process answers at a path outside of the API."""
        return (await self._http.get(f"{self.webs[0].url}{path}")).status_code

    async def snapshot(self, customer: str) -> Snapshot:
        """The customer's orders, and the position that they were read at; the position first."""
        position = await self.get("notifications", customer, limit=1)
        orders = (await self.get("orders", customer))["results"]
        return Snapshot(position["stream"], position["head"], {order["number"]: order for order in orders})

    async def heads(self) -> dict[str, int]:
        """Each customer's head."""
        positions = await asyncio.gather(*(self.get("notifications", customer, limit=1) for customer in CUSTOMERS))
        return {customer: position["head"] for customer, position in zip(CUSTOMERS, positions, strict=True)}

    async def stream(self, customer: str, after: int) -> list[dict[str, Any]]:
        """The customer's notifications after a number, all pages of them."""
        entries: list[dict[str, Any]] = []
        while page := (await self.get("notifications", customer, after=after, limit=PAGE))["results"]:
            entries += page
            after = page[-1]["seq"]
        return entries

    # -- The check -------------------------------------------------------------------------------------------------

    async def check(self, clients: Sequence[Client], log: Log) -> None:
        """Stale snapshot + delivered notifications = fresh snapshot, in order, no doubles, for every client.

        To be called when nobody writes any more. Waits until each client holds its customer's head, and then compares
        everything: the orders that it shows with those that the API gives; the frames that came with the stream, one by
        one; and, on the shop's side, each answered change with the history, which has it once and whole.
        """
        fresh = dict(zip(CUSTOMERS, await asyncio.gather(*map(self.snapshot, CUSTOMERS)), strict=True))
        await all_hold(clients, {customer: snapshot.head for customer, snapshot in fresh.items()})
        for client in clients:
            assert client.violations == []
            assert client.stream == fresh[client.customer].stream
            assert client.held == fresh[client.customer].head
            assert client.orders == fresh[client.customer].orders
        for customer in {client.customer for client in clients}:
            theirs = [client for client in clients if client.customer == customer]
            since = min(client.start for client in theirs)
            entries = await self.stream(customer, since)
            for client in theirs:
                assert client.delivered == entries[client.start - since :], f"{customer} got others"
        await self._check_history(log)

    async def _check_history(self, log: Log) -> None:
        """Each answered change is in the history once and has told the customer once; none is there in part."""
        assert log.applied() > 0
        applied: Counter[str] = Counter()
        for customer in CUSTOMERS:
            told = Counter(
                (entry["order"]["number"], entry["note"])
                for entry in await self.stream(customer, 0)
                if entry["kind"] == "order.status_changed"
            )
            written: Counter[tuple[str, str]] = Counter()
            for order in (await self.get("orders", customer))["results"]:
                history = await self.history(order["number"], customer)
                moves = [change for change in history if change["applied"] and change["from_status"]]
                written.update((order["number"], change["note"]) for change in moves)
                assert order["version"] == 1 + len(moves)
                assert not moves or order["status"] == moves[-1]["to_status"]
            assert told == written
            applied.update(note for _, note in written.elements())
        assert set(applied.values()) == {1}
        assert {answer.note for answer in log.answers if answer.applied} <= applied.keys()
