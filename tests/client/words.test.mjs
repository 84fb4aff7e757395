/** What the pages say of a notification: the same words as the server, `orders/pages/wording.py`. */

import assert from "node:assert/strict";
import test from "node:test";

const wording = { shipped: { label: "On its way", sentence: "", tone: "active", step: 3 } };
globalThis.document = { getElementById: () => ({ textContent: JSON.stringify(wording) }) };
const { amount, headline } = await import("../../orders/pages/static/pages/words.js");

const order = { status: "shipped", estimated_delivery: "2026-12-01" };
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long" }).format(new Date(2026, 11, 1));

for (const [told, words] of [
  [{ kind: "order.status_changed", order }, "On its way"],
  [{ kind: "order.created", order }, "Order placed"],
  [{ kind: "order.removed", order }, "Order removed"],
  [{ kind: "order.message", order }, "New message"],
  [{ kind: "order.delayed", order }, "Later than planned"],
  [{ kind: "order.updated", order, changed: ["carrier", "estimated_delivery"] }, `New delivery date: ${day}`],
  [{ kind: "order.updated", order, changed: ["carrier"] }, "Details changed"],
  [{ kind: "order.updated", order: { ...order, estimated_delivery: null }, changed: ["estimated_delivery"] }, "Details changed"],
  [{ kind: "order.updated", order }, "Details changed"], // told by an older version, which named no fields
])
  test(`${told.kind} of ${told.changed ?? "what nobody named"} is said as ${words}`, () => assert.equal(headline(told), words));

for (const [total, currency] of [["41.80", "EUR"], ["1.239", "EUR"], ["12.345", "KWD"], ["1200", "JPY"], ["0.5", "JPY"], ["7.00", "XYZ"]])
  test(`${total} ${currency} keeps its digits`, () => {
    const digits = amount(total, currency).replaceAll(/[^0-9]/g, "");
    assert.equal(digits, total.replace(".", ""));
  });

test("what is no currency is written behind the amount", () => assert.equal(amount("7.00", "no currency"), "7.00 no currency"));
