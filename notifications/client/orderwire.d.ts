/** Types of orderwire.js. What each thing is for, and why, stands in README.md. */

export type OrderStatus =
  | "pending" | "processing" | "on_hold" | "shipped" | "out_for_delivery"
  | "ready_for_pickup" | "delivered" | "returned" | "cancelled";

/** What the order looked like after the change. More fields may come: read those you know. */
export interface Order {
  number: string;
  version: number;
  status: OrderStatus;
  [field: string]: unknown;
}

export type Kind =
  | "order.created" | "order.status_changed" | "order.updated" | "order.delayed" | "order.message" | "import.finished";

export type Transport = "websocket" | "sse" | "polling";

export type State = "connecting" | "catching-up" | "live" | "offline" | "stopped";

export interface Notification {
  type: "notification";
  /** Gapless and strictly increasing within a stream. */
  seq: number;
  kind: Kind;
  /** RFC 3339, UTC. */
  at: string;
  /** Absent where the kind is about no single order. */
  order?: Order;
  note?: string | null;
  /** The page already knows a newer version of this order: list it, do not draw the order from it. */
  stale: boolean;
}

export interface Welcome {
  type: "welcome";
  protocol?: number;
  user?: string | null;
  stream: string;
  /** The newest number of the stream when the connection was made. */
  head: number;
  /** Where the connection began, which for a shared one may be before this tab's own place. */
  after: number;
  unread?: number | null;
  /** Seconds between two pings. */
  ping_seconds?: number;
  transport: Transport;
}

export interface Reset {
  type?: "reset";
  stream: string;
  /** The feed goes on from here. Fetch a snapshot over HTTP. */
  head: number;
  reason: "trimmed" | "unknown_stream" | "ahead" | "too_many";
}

export interface Read {
  type: "read";
  up_to: number;
  unread: number;
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

/** The server refused a frame that this client sent; the connection stays. */
export interface Refusal {
  type: "error";
  code: string;
  detail: string;
}

export interface StateChange {
  state: State;
  transport: Transport;
  /** With `offline`: the wait before the next attempt, in milliseconds. */
  retry_ms?: number;
  /** Why: a close code, or `closed`, `no_ticket`, `another_user`. */
  code?: number | "closed" | "no_ticket" | "another_user";
}

export interface OrderwireEventMap {
  notification: CustomEvent<Notification>;
  welcome: CustomEvent<Welcome>;
  state: CustomEvent<StateChange>;
  reset: CustomEvent<Reset>;
  read: CustomEvent<Read>;
  progress: CustomEvent<Progress>;
  order: CustomEvent<OrderChanged>;
  error: CustomEvent<Refusal>;
}

export interface OrderwireOptions {
  /** The socket's address; http and https become ws and wss. Default: `/ws/notifications` of the page's origin. */
  url?: string | URL;
  /** The HTTP API's address, for the fallbacks; relative to `url`. Default: `/api/v1`. */
  api?: string;
  /**
   * Gives a fresh ticket before each connection. Without it the session cookie authenticates. To reject makes the
   * feed try again later; to give null stops it.
   */
  ticket?: () => Ticket | Promise<Ticket>;
  /** Whose page this is, as the server's `welcome.user` says it. Lets tabs share a connection. */
  user?: string;
  /** The position of the snapshot that the page shows. Without it: the stored one, else from now on. */
  after?: number;
  /** The stream that `after` counts in. */
  stream?: string;
  /** The orders that the page shows, so that none moves backwards. */
  orders?: Iterable<Pick<Order, "number" | "version">>;
  /** Where the position is kept for a reload. Default: `localStorage`; `null`: nowhere. */
  storage?: Pick<Storage, "getItem" | "setItem"> | null;
  /** `false`: a connection of its own for this tab. */
  shared?: boolean;
  /** Gives the CSRF token for the fallbacks. Default: the cookie `csrftoken`. */
  csrf?: () => string;
  /** The world outside, for tests. Default: `globalThis`. */
  env?: object;
}

export type Ticket = string | { ticket: string } | null | undefined;

export class Orderwire extends EventTarget {
  constructor(options?: OrderwireOptions);

  readonly state: State;
  readonly transport: Transport;
  /** Unread notifications; null before the first welcome. */
  readonly unread: number | null;
  /** The last number that this tab holds; null before the first welcome where none was given. */
  readonly after: number | null;
  readonly stream: string | null;
  readonly user: string | null;

  /** Marks as read, in all tabs and devices, everything up to a number; by default all that this tab holds. */
  markRead(upTo?: number): void;
  /** Tells which versions of orders the page shows, after it fetched a snapshot. */
  saw(...orders: Pick<Order, "number" | "version">[]): void;
  /** Sends a fresh ticket over the open socket, so that it outlives its authentication. */
  renew(): Promise<void>;
  /** Ends this tab's part. Another tab takes over the shared connection. */
  close(): void;

  addEventListener<K extends keyof OrderwireEventMap>(
    type: K,
    listener: ((this: Orderwire, event: OrderwireEventMap[K]) => void) | { handleEvent(event: OrderwireEventMap[K]): void } | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof OrderwireEventMap>(
    type: K,
    listener: ((this: Orderwire, event: OrderwireEventMap[K]) => void) | { handleEvent(event: OrderwireEventMap[K]): void } | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
