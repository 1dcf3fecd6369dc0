// Dollars, and what they are made of.

import { el } from "./dom.js";

// As many digits as tell something: $1,234, $1.23, $0.0012.
export function dollars(amount) {
  if (amount >= 1000) return `$${Math.round(amount).toLocaleString("en-US")}`;
  if (amount >= 1 || amount === 0) return `$${amount.toFixed(2)}`;
  return amount < 1e-6 ? "under $0.000001" : `$${amount.toFixed(Math.max(2, 1 - Math.floor(Math.log10(amount))))}`;
}

const SHARES = ["requests", "compute", "storage"];

export const madeOf = (cost) => SHARES.map((share) => `${share} ${dollars(cost[share])}`).join(", ");

export const sum = (costs) => Object.fromEntries(["total", ...SHARES].map((share) => [share, costs.reduce((all, cost) => all + cost[share], 0)]));

export const costNote = ({ prices, note }) => el("p", { class: "counts wrap" }, ["An estimate", prices && `prices: ${prices}`, note].filter(Boolean).join("; "));
