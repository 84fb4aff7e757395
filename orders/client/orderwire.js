/** The engine's feed, and what it does not know: orders have versions. API and reasons: README.md. */

import { Feed } from "./feed.js";

const VERSIONS = 1000; // About 100 bytes each.

export class Orderwire extends Feed {
  #versions = new Map();

  constructor(options = {}) {
    super(options);
    this.saw(...(options.orders ?? []));
  }

  saw(...orders) {
    for (const { number, version } of orders) {
      this.#versions.set(number, Math.max(version, this.#versions.get(number) ?? 0));
      if (this.#versions.size > VERSIONS) this.#versions.delete(this.#versions.keys().next().value);
    }
  }

  tell(type, detail) {
    if (type === "reset") this.#versions.clear(); // After a restored backup lower ones are right.
    if (type === "notification") {
      const { order } = detail;
      detail = { ...detail, stale: order?.version < this.#versions.get(order?.number) };
      if (order?.version) this.saw(order);
    }
    super.tell(type, detail);
  }
}
