/**
 * Where WebSockets are blocked: the feed's HTTP transports with a ticket, which is exchanged for a token that is sent as
 * a header. `feed.js` loads this module only then. An EventSource takes no header, so one is made of `fetch` here.
 */

/** A world whose `fetch` and `EventSource` show who they are by the token that the ticket is exchanged for. */
export function withToken(env, api, ticket) {
  let exchange;

  async function exchanged(signal) {
    const answer = await env.fetch(`${api}/tickets/exchange`, {
      method: "POST",
      credentials: "omit",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ticket }),
      signal,
    });
    return answer.ok ? { token: (await answer.json()).token } : { answer };
  }

  async function fetch(url, { headers, ...init }) {
    const { token, answer: refusal } = await (exchange ??= exchanged(init.signal));
    if (refusal) return refusal; // A ticket that is not accepted stops the feed, as on a socket.
    const { "X-CSRFToken": _, ...kept } = headers ?? {}; // That is the cookie's.
    const answer = await env.fetch(url, { ...init, credentials: "omit", headers: { ...kept, Authorization: `Bearer ${token}` } });
    if (answer.status === 401) throw new Error("the token has ended"); // The feed comes back with a fresh ticket.
    return answer;
  }

  class EventSource {
    #end = new AbortController();

    constructor(url) {
      this.#follow(url).catch(() => {}).then(() => this.onerror?.());
    }

    close() {
      this.#end.abort();
    }

    async #follow(url) {
      const answer = await fetch(url, { signal: this.#end.signal });
      if (answer.status === 401) this.onmessage({ data: '{"type":"close","code":4500}' });
      if (!answer.ok) return;
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      let rest = "";
      for (let part; !(part = await reader.read()).done; ) {
        const lines = (rest + decoder.decode(part.value, { stream: true })).split("\n");
        rest = lines.pop();
        // An event's data is one line; position and delay of a reconnect are the feed's.
        for (const line of lines) if (line.startsWith("data: ")) this.onmessage({ data: line.slice(6) });
      }
    }
  }

  return { fetch, EventSource };
}
