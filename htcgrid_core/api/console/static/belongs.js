// Links to what a session belongs to: a DAG run, a flow run, an execution. Templates are the operator's, labels anybody's.

import { el } from "./dom.js";

const PLACE = /\{([^{}]+)\}/g;

function filled(template, session) {
  const told = { ...session.labels, "session.id": session.id };
  const names = [...template.matchAll(PLACE)].map(([, name]) => name);
  // Of dots alone, which cannot be encoded, a browser makes the folder above.
  if (names.some((name) => !Object.hasOwn(told, name) || /^\.{1,2}$/.test(told[name]))) return null;
  const address = template.replace(PLACE, (_, name) => encodeURIComponent(told[name]));
  return /^https?:\/\//.test(address) ? address : null; // the server has seen to it; a script is never what is opened
}

export const belongsTo = (session, links) => links.map(({ name, template }) => [name, filled(template, session)])
  .filter(([, address]) => address).map(([name, address]) => el("a", { href: address, rel: "noreferrer noopener", "data-key": `to-${name}` }, `${name} ↗`));
