/** Types of orderwire.js. What each thing is for, and why, stands in README.md. */

import { Feed, FeedEventMap, FeedOptions, Notification as Told, Snapshot as Position } from "./feed.js";

export type { Read, Refusal, Reset, State, StateChange, Ticket, Transport, Welcome } from "./feed.js";

export type OrderStatus =
  | "pending" | "processing" | "on_hold" | "shipped" | "out_for_delivery"
  | "ready_for_pickup" | "delivered" | "returned" | "cancelled";

export interface OrderItem {
  sku?: string;
  name: string;
  /** Perhaps with decimals, `0.5`. */
  quantity: number;
  [field: string]: unknown;
}

/** The order as `GET /api/v1/orders/{number}` gives it. More fields may come: read those you know. */
export interface Order {
  /** The shop's own text: in an address, `encodeURIComponent(number)`. */
  number: string;
  /** Its customer's user name. */
  customer: string;
  status: OrderStatus;
  /** Grows with each change, by one at least. */
  version: number;
  /** Since when it has its status. RFC 3339, UTC, as `placed_at`. */
  status_since: string;
  placed_at: string;
  /** These three are empty where unknown. */
  carrier: string;
  tracking_number: string;
  tracking_url: string;
  /** A day, `2026-03-01`. */
  estimated_delivery: string | null;
  /** ISO 4217. */
  currency: string;
  /** A decimal number as a text, with the currency's decimals or more: `"38.40"`, `"1200"`, `"12.345"`. */
  total: string | null;
  items: OrderItem[];
  metadata: Record<string, unknown>;
  /** When it last changed. RFC 3339, UTC. */
  updated_at: string;
}

export type Kind =
  | "order.created" | "order.status_changed" | "order.updated" | "order.removed" | "order.delayed" | "order.message"
  | "import.finished";

export interface Notification extends Told {
  kind: Kind;
  /** Absent or null where the kind is about no single order. */
  order?: Order | null;
  /** Of a message its beginning. */
  note?: string | null;
  /** With `order.updated`: the names of the order's fields that are others now. */
  changed?: string[];
  /** With `order.message`: which message of the order's conversation it is (conversation.js). */
  message?: { id: number; side: "staff" };
  /** The page already knows a newer version of this order: list it, do not draw the order from it. */
  stale: boolean;
}

export interface Progress {
  type: "progress";
  import: string | number;
  done: number;
  total: number | null;
  rejected: number;
}

/** Staff's board (`/ws/board`) alone: the latest state of an order that changed. Not numbered: read all after a `welcome`. */
export interface OrderChanged {
  type: "order";
  order: Order;
}

/** Staff's board alone: an order was deleted. Not numbered. */
export interface OrderRemoved {
  type: "removed";
  number: string;
}

/** Somebody has written about an order: to a customer's own connections, and on the staff's board. Not numbered. */
export interface MessageSaid {
  type: "message";
  /** The order's number. */
  order: string;
  id: number;
  side: "customer" | "staff";
  at: string;
  client_id: string | null;
}

/** Somebody of the other side is typing, and is not any more when it has not come again for six seconds. */
export interface Typing {
  type: "typing";
  order: string;
  who: "customer" | "staff";
}

/** What `GET /api/v1/snapshot` gives; a page's own may have more or less. */
export interface Snapshot extends Position {
  orders?: Order[];
  /** The address of further orders. */
  next?: string | null;
}

export interface OrderwireEventMap extends FeedEventMap<Notification, Snapshot> {
  progress: CustomEvent<Progress>;
  order: CustomEvent<OrderChanged>;
  removed: CustomEvent<OrderRemoved>;
  message: CustomEvent<MessageSaid>;
  typing: CustomEvent<Typing>;
}

export interface OrderwireOptions extends FeedOptions<Snapshot> {
  /** The orders that the page shows, so that none moves backwards. */
  orders?: Iterable<Pick<Order, "number" | "version">>;
}

export class Orderwire extends Feed<OrderwireEventMap, Snapshot> {
  constructor(options?: OrderwireOptions);

  /** Tells which versions of orders the page shows, after it fetched a snapshot by itself. */
  saw(...orders: Pick<Order, "number" | "version">[]): void;
}
