/** The engine's feed, and what it does not know: orders have versions. API and reasons: README.md. */

import { Feed } from "./feed.js";

const VERSIONS = 1000; // About 100 bytes each.

export class Orderwire extends Feed {
  #versions = new Map();

  constructor(options = {}) {
    const orders = check(options.orders ?? []);
    super(options);
    this.saw(...orders);
  }

  saw(...orders) {
    check(orders).forEach(this.#remember, this);
  }

  tell(type, detail) {
    if (type === "reset") this.#versions.clear(); // After a restored backup lower ones are right.
    if (type === "snapshot") detail.orders?.forEach(this.#remember, this);
    if (type === "notification") {
      const { order } = detail;
      detail = { ...detail, stale: order?.version < this.#versions.get(order?.number) };
      if (order) this.#remember(order);
      if (detail.kind === "order.removed" && !detail.stale) this.#versions.delete(order.number);
    }
    super.tell(type, detail);
  }

  #remember({ number, version }) {
    this.#versions.set(number, Math.max(version, this.#versions.get(number) ?? 0));
    if (this.#versions.size > VERSIONS) this.#versions.delete(this.#versions.keys().next().value);
  }
}

function check(orders) {
  for (const order of orders)
    if (typeof order?.number !== "string" || !Number.isSafeInteger(order.version))
      throw new TypeError("orders: each is {number, version}, as the server has it");
  return orders;
}
