// Redrawing without losing the reader's place: what has the focus keeps it, and what has not changed stays.

export function drawer(place) {
  let drawn = null;
  return (key, parts) => {
    const now = JSON.stringify(key);
    if (now === drawn) return;
    drawn = now;
    const focused = document.activeElement?.closest("[data-key]");
    const at = place.contains(focused) ? focused.dataset.key : null;
    place.replaceChildren(...[parts()].flat(2).filter(Boolean));
    if (at !== null) [...place.querySelectorAll("[data-key]")].find((node) => node.dataset.key === at)?.focus();
  };
}
