// Keys, countdowns, and polling that does not get in the way. Every page works without it.
(function () {
  "use strict";
  const one = (selector, from) => (from || document).querySelector(selector);
  const all = (selector, from) => Array.from((from || document).querySelectorAll(selector));
  let ahead = 0; // milliseconds by which the server's clock is ahead of this one
  let good = Date.now(); // when the server last sent what is shown, or could have
  let lost = null; // since when, and why, nothing comes any more

  function span(ms) {
    const seconds = Math.max(0, Math.floor(ms / 1000));
    const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
    const first = units.findIndex(([, size]) => seconds >= size);
    if (first < 0) return "0s";
    let text = Math.floor(seconds / units[first][1]) + units[first][0];
    const next = units[first + 1];
    const rest = next ? Math.floor(seconds % units[first][1] / next[1]) : 0;
    if (rest > 0) text += " " + rest + next[0];
    return text;
  }

  function set(element, text) { if (element.textContent !== text) element.textContent = text; }

  function count() {
    if (lost) return; // what is shown is as it was then
    const now = Date.now() + ahead;
    for (const t of all("time.ago")) set(t, span(now - Number(t.dataset.at)));
    for (const t of all("time.until")) {
      const left = Number(t.dataset.at) - now;
      set(t, left > 0 ? "in " + span(left) : "now");
    }
  }

  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

  function dress() {
    const live = one("#live"), status = one("#status");
    const now = Number((live || document.body).dataset.now);
    ahead = now - Date.now();
    if (live && status) set(status, live.dataset.summary);
    const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
    for (const t of all("time.at")) set(t, zone.format(new Date(t.getAttribute("datetime"))));
    const made = one("#made");
    if (made) { made.classList.remove("paused"); made.textContent = "as of " + clock.format(new Date(now)); }
    const author = known();
    for (const input of all("input[data-author]")) if (!input.value) input.value = author;
    count();
    chart();
  }

  function known() { try { return localStorage.getItem("squelch-author") || ""; } catch (e) { return ""; } }

  document.addEventListener("submit", (event) => {
    // With this script the count follows what is written, so it need not be confirmed.
    const matchers = one("[data-counted]", event.target), counted = one("[name=counted]", event.target);
    if (matchers && counted) counted.value = matchers.value;
    const author = one("input[data-author]:not([type=hidden])", event.target);
    if (author) try { localStorage.setItem("squelch-author", author.value); } catch (e) { /* private window */ }
  });

  const LOST = "Connection lost";

  // A server that does not answer must not look like a quiet one.
  function lose(why) {
    lost = { since: lost ? lost.since : good, why };
    if (!document.title.startsWith(LOST)) document.title = LOST + " · " + document.title;
    document.body.classList.add("lost");
    const bar = one("#lost");
    bar.hidden = false;
    set(bar, "Connection lost since " + clock.format(new Date(lost.since + ahead)) + " (" + lost.why + "). " +
      "This page shows what was true then. It goes on by itself once the server answers.");
  }

  function answered(page) {
    good = Date.now();
    const next = page.querySelector("#standing"), here = one("#standing");
    // What is read out is replaced only when it says something else.
    if (next && here && next.dataset.key !== here.dataset.key) here.replaceWith(document.importNode(next, true));
    document.title = page.title;
    if (!lost) return;
    lost = null;
    one("#lost").hidden = true;
    document.body.classList.remove("lost");
  }

  const ofLive = (event) => event.target.id === "live";
  document.addEventListener("htmx:beforeRequest", (event) => {
    // A page that nobody looks at asks less often, for its title.
    if (ofLive(event) && document.hidden && !lost && Date.now() - good < 15000) event.preventDefault();
  });
  for (const kind of ["htmx:sendError", "htmx:timeout"])
    document.addEventListener(kind, (event) => { if (ofLive(event)) lose("no answer"); else uncounted(event); });
  document.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    if (!ofLive(event)) uncounted(event);
    else if (status === 404) location.reload(); // it is over, and the server says so
    else lose("the server answers " + status);
  });

  // What a person reads or has opened is not taken away under their eyes.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!ofLive(event) || event.detail.xhr.status !== 200) return;
    const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    if (!page.querySelector("#live")) { event.detail.shouldSwap = false; return lose("an answer of something else"); }
    answered(page);
    const selected = String(window.getSelection());
    const writing = document.activeElement && event.target.contains(document.activeElement) &&
      document.activeElement.matches("input, select, textarea");
    if (!selected && !writing && !one("dialog[open]")) return;
    event.detail.shouldSwap = false;
    one("#made").classList.add("paused");
  });

  function uncounted(event) { // how much the matchers of a silence match
    const place = event.target.matches("[data-counted]") && one("#matching");
    if (place) { place.textContent = "It is not known how much these match: the server does not answer."; }
  }

  let focused = null;
  document.addEventListener("htmx:beforeSwap", () => {
    const here = document.activeElement;
    focused = here && here.closest("#live") ? { id: here.id, row: rows().indexOf(here) } : null;
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    const error = one("#matchers-error"), matchers = one("[data-counted]");
    if (matchers && error) matchers.setAttribute("aria-invalid", "true");
    else if (matchers) matchers.removeAttribute("aria-invalid");
    if (!ofLive(event)) return;
    dress();
    if (!focused || (document.activeElement && document.activeElement !== document.body)) return;
    const again = (focused.id && document.getElementById(focused.id)) || rows()[focused.row];
    if (again) again.focus({ preventScroll: true });
  });

  function rows() { return all("[data-row]").map((row) => one("a, button", row)).filter(Boolean); }

  function step(by) {
    const links = rows();
    if (!links.length) return;
    const row = document.activeElement && document.activeElement.closest("[data-row]");
    const at = row ? links.indexOf(one("a, button", row)) : -1;
    const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by];
    if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const writing = event.target.matches("input, select, textarea");
    if (writing) { if (event.key === "Escape") event.target.blur(); return; }
    if (one("dialog[open]")) return;
    const views = all("nav[aria-label=Views] a");
    if (event.key === "/" && one("#q")) { event.preventDefault(); one("#q").focus(); one("#q").select(); }
    else if (event.key === "?") one("#keys").showModal();
    else if (event.key === "ArrowDown" || event.key === "j") { event.preventDefault(); step(1); }
    else if (event.key === "ArrowUp" || event.key === "k") { event.preventDefault(); step(-1); }
    else if (/^[1-7]$/.test(event.key) && views[event.key - 1]) views[event.key - 1].click();
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys]")) one("#keys").showModal();
    const copy = event.target.closest("[data-copy]");
    if (!copy) return;
    const done = () => { copy.textContent = "Copied"; };
    if (navigator.clipboard) navigator.clipboard.writeText(copy.dataset.copy).then(done, () => mark(copy));
    else mark(copy);
  });

  function mark(button) { // where a page may not write to the clipboard: marked, to be copied by hand
    const text = button.parentElement.querySelector("pre");
    if (text) getSelection().selectAllChildren(text);
  }

  let plot = null;
  function chart() {
    const place = one("#chart");
    if (!place || !window.uPlot || place.firstChild) return;
    if (plot) plot.destroy();
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const data = JSON.parse(place.dataset.series);
    const axis = { stroke: colour("--dim"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule") } };
    const bars = window.uPlot.paths.bars({ size: [0.9, 60] });
    plot = new window.uPlot({
      width: Math.max(280, place.clientWidth - 16), height: 220, cursor: { y: false },
      scales: { y: { range: (u, low, high) => [0, Math.max(1, high)] } },
      axes: [axis, axis],
      series: [{}, { label: "in", fill: colour("--blue"), stroke: colour("--blue"), width: 0, paths: bars, points: { show: false } },
        { label: "out", fill: colour("--red"), stroke: colour("--red"), width: 0, paths: bars, points: { show: false } }],
    }, data, place);
  }

  document.addEventListener("DOMContentLoaded", dress);
  setInterval(count, 1000);
})();
