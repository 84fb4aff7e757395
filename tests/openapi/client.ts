// A client as a shop writes one, on types that openapi-typescript has made of the document: all orders, page by page.
// tests/acceptance/test_clients.py checks and runs it.

import createClient from "openapi-fetch";
import type { components, paths } from "./generated/schema.js";

type Order = components["schemas"]["Order"];
type Page = components["schemas"]["PaginatedOrderList"];

declare const process: { argv: string[] };
const [, , baseUrl, token] = process.argv as [string, string, string, string];
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

async function page(cursor?: string): Promise<Page> {
  const { data, error } = await client.GET("/api/v1/orders", { params: { query: { limit: 1, cursor } } });
  if (error !== undefined) throw new Error(`${error.status} ${error.code}: ${error.detail}`);
  return data;
}

function cursorOf(link: string): string | undefined {
  return new URL(link).searchParams.get("cursor") ?? undefined;
}

const pages: Page[] = [await page()];
for (let next: string | null = pages[0]!.next; next !== null; next = pages.at(-1)!.next) {
  pages.push(await page(cursorOf(next)));
}
const orders: Order[] = pages.flatMap((one) => one.results);
const promised: (string | null)[] = orders.map((order) => order.estimated_delivery);
const statuses: Set<components["schemas"]["Status"]> = new Set(orders.map((order) => order.status));

// What may be null has to be looked at first, and what stands nowhere in the document is not there.
// @ts-expect-error
const certain: string = pages[0]!.next;
// @ts-expect-error
orders[0]!.colour;

console.log(
  JSON.stringify({
    numbers: orders.map((order) => order.number),
    statuses: [...statuses],
    promised: promised.length,
    first: { next: certain, previous: pages[0]!.previous },
    last: { next: pages.at(-1)!.next, previous: pages.at(-1)!.previous },
  }),
);
