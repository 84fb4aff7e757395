/** Types of feed.js. What each thing is for, and why, stands in feed.md. */

export type Transport = "websocket" | "sse" | "polling";

export type State = "connecting" | "catching-up" | "live" | "offline" | "stopped";

/** Further fields are the application's own. */
export interface Notification {
  type: "notification";
  /** Gapless and strictly increasing within a stream. */
  seq: number;
  kind: string;
  /** RFC 3339, UTC. */
  at: string;
}

export interface Welcome {
  type: "welcome";
  protocol?: number;
  user?: string | null;
  stream: string;
  /** The newest number of the stream when the connection was made. */
  head: number;
  /** Where the connection is, which for a shared one may be another place than this tab's. */
  after: number;
  unread?: number | null;
  /** Seconds between two pings. */
  ping_seconds?: number;
  transport: Transport;
}

export interface Reset {
  type?: "reset";
  stream: string;
  /** The feed goes on from here, or from the `snapshot` that it takes. */
  head: number;
  reason: "trimmed" | "unknown_stream" | "ahead" | "too_many";
}

export interface Read {
  type: "read";
  up_to: number;
  unread: number;
}

/** The server refused a frame that this client sent; the connection stays. */
export interface Refusal {
  type: "error";
  code: string;
  detail: string;
  /** The id that the refused frame had. */
  client_id?: string;
  /** Seconds, where the same may succeed later. */
  retry_after?: number;
}

export interface StateChange {
  state: State;
  transport: Transport;
  /** With `offline`: the wait before the next attempt, in milliseconds. */
  retry_ms?: number;
  /** Why: a close code, or what the client itself found. */
  code?: number | "closed" | "no_ticket" | "no_snapshot" | "no_window" | "another_user";
  /** What the developer of the page has to mend. */
  detail?: string;
}

/** A position, and the state of what the page shows as it was there. */
export interface Snapshot {
  stream: string;
  head: number;
  unread?: number;
  user?: string;
}

export interface FeedEventMap<N = Notification, S extends Snapshot = Snapshot> {
  notification: CustomEvent<N>;
  welcome: CustomEvent<Welcome>;
  state: CustomEvent<StateChange>;
  reset: CustomEvent<Reset>;
  snapshot: CustomEvent<S>;
  read: CustomEvent<Read>;
  error: CustomEvent<Refusal>;
}

export interface FeedOptions<S extends Snapshot = Snapshot> {
  /** The socket's address; http and https become ws and wss. Default: `/ws/notifications` of the page's origin. */
  url?: string | URL;
  /** The HTTP API's address, for the fallbacks; relative to `url`. Default: `/api/v1`. */
  api?: string | URL;
  /**
   * Gives a fresh ticket before each connection. Without it the session cookie authenticates. To reject makes the
   * feed try again later; to give null stops it.
   */
  ticket?: () => Ticket | Promise<Ticket>;
  /**
   * Gives what the page shows, and the position it was read at: at the start, unless `after` is given, and after each
   * `reset`. To reject makes the feed ask again later; to give null stops it.
   */
  snapshot?: () => S | null | Promise<S | null>;
  /** Whose page this is, as the server's `welcome.user` says it. Lets tabs share a connection. */
  user?: string;
  /** The position of what the page shows already. Without it: the snapshot's, else the stored one, else from now on. */
  after?: number;
  /** The stream that `after` counts in. */
  stream?: string;
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

type Listener<T, E> = ((this: T, event: E) => void) | { handleEvent(event: E): void } | null;

export class Feed<Events extends { [K in keyof Events]: CustomEvent } = FeedEventMap, S extends Snapshot = Snapshot> extends EventTarget {
  constructor(options?: FeedOptions<S>);

  readonly state: State;
  readonly transport: Transport;
  /** Unread notifications; null before the first welcome. */
  readonly unread: number | null;
  /** The last number that this tab holds; null before the first welcome or snapshot where none was given. */
  readonly after: number | null;
  readonly stream: string | null;
  readonly user: string | null;

  /** Marks as read, in all tabs and devices, everything up to a number; by default all that this tab holds. */
  markRead(upTo?: number): void;
  /** Sends a frame of the application's own over the WebSocket, if there is one: what answers it tells. */
  send(frame: { type: string; [field: string]: unknown }): void;
  /** Sends a fresh ticket over the open socket, so that it outlives its authentication. */
  renew(): Promise<void>;
  /** Ends this tab's part. Another tab takes over the shared connection. */
  close(): void;

  /** For classes that extend this one: dispatches every event, and may be overridden to change its detail. */
  protected tell(type: string, detail: unknown): void;

  addEventListener<K extends keyof Events>(type: K, listener: Listener<this, Events[K]>, options?: boolean | AddEventListenerOptions): void;
  /** A frame of a type that the feed does not know is an event of that type. */
  addEventListener(type: string, listener: Listener<this, CustomEvent>, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof Events>(type: K, listener: Listener<this, Events[K]>, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: Listener<this, CustomEvent>, options?: boolean | EventListenerOptions): void;
}
