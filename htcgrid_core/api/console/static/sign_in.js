// Letting a browser in: by the one-time address, or with a key.

import { signIn } from "./api.js";
import { el } from "./dom.js";

// The code stands behind the #, which no server and no log sees; and then it stands there no more.
export async function redeem() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (!code) return "";
  history.replaceState(null, "", location.pathname + location.search);
  try {
    await signIn({ code });
    return "";
  } catch (error) {
    return error.message;
  }
}

export function signInForm(why, done) {
  const input = el("input", { type: "password", id: "key", autocomplete: "off", required: true });
  const note = el("p", { class: "note", role: "alert", hidden: !why }, why);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await signIn({ key: input.value.trim() });
      done();
    } catch (error) {
      note.textContent = error.message;
      note.hidden = false;
      input.select();
    }
  };
  return el("form", { class: "card sign-in", onsubmit: submit },
    el("h1", {}, "HTC-Grid"),
    el("p", { class: "quiet" }, "Open the address that ", el("code", {}, "htcgrid serve"), " printed, or sign in with a key of ",
      el("code", {}, "htcgrid api-keys"), "."),
    note,
    el("label", { for: "key" }, "Key"), input,
    el("button", { class: "primary" }, "Sign in"));
}
