/** Types of conversation.js. What each thing is for, and why, stands in README.md. */

import { Feed } from "./feed.js";

export type Side = "customer" | "staff";

/** That there is a message; what it says is read by `read()`. */
export interface Said {
  id: number;
  side: Side;
  /** RFC 3339, UTC. */
  at: string;
  /** The id that this user's client gave it; null for others' messages. */
  client_id: string | null;
}

/** A message as `GET /api/v1/orders/{number}/messages` gives it. More fields may come: read those you know. */
export interface Message {
  id: number;
  /** The order's number. */
  order: string;
  side: Side;
  /** A user name; null for staff where a customer reads, and for a user who is gone. */
  author: string | null;
  text: string;
  written_at: string;
  client_id: string | null;
}

/** Newest first. */
export interface Page {
  results: Message[];
  /** The addresses of older and of newer messages. */
  next: string | null;
  previous: string | null;
}

export interface ConversationOptions {
  /** The HTTP API's address. Default: `/api/v1` of the page's origin. */
  api?: string;
  /** Gives the CSRF token. */
  csrf?: () => string;
  /** The world outside, for tests. Default: `globalThis`. */
  env?: object;
}

/** What `say` and `read` reject with. */
export interface Refused extends Error {
  /** `blank`, `max_length`, `control_character`, `client_id_reused`, `throttled`, `rate`, `not_found`, … */
  code: string;
  /** Seconds, where the same may succeed later. */
  retryAfter?: number;
}

export class Conversation extends EventTarget {
  constructor(feed: Feed<any, any>, number: string, options?: ConversationOptions);

  /** Keeps a message once. Called again with the same id after a rejection, it is still kept once. */
  say(text: string, id?: string): Promise<Said & { order: string }>;
  /** Tells the other side that somebody is typing; as often as you like. */
  typing(): void;
  /** The newest messages, or those at the `next` of a page. */
  read(address?: string): Promise<Page>;
  /** Hears of no more. */
  close(): void;

  addEventListener(type: "message", listener: (event: CustomEvent<Said>) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: "typing", listener: (event: CustomEvent<{ who: Side }>) => void, options?: boolean | AddEventListenerOptions): void;
}
