// Keys, countdowns, and polling that does not get in the way. Every page works without it.
(function () {
  "use strict";
  const one = (selector, from) => (from || document).querySelector(selector);
  const all = (selector, from) => Array.from((from || document).querySelectorAll(selector));
  let ahead = 0; // milliseconds by which the server's clock is ahead of this one

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
    const now = Date.now() + ahead;
    for (const t of all("time.ago")) set(t, span(now - Number(t.dataset.at)));
    for (const t of all("time.until")) {
      const left = Number(t.dataset.at) - now;
      set(t, left > 0 ? "in " + span(left) : "now");
    }
  }

  function dress() {
    const live = one("#live");
    if (live) {
      ahead = Number(live.dataset.now) - Date.now();
      const status = one("#status");
      if (status && status.textContent !== live.dataset.summary) status.textContent = live.dataset.summary;
    }
    const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
    for (const t of all("time.at")) set(t, zone.format(new Date(t.getAttribute("datetime"))));
    const author = known();
    for (const input of all("input[data-author]")) if (!input.value) input.value = author;
    count();
    chart();
  }

  function known() { try { return localStorage.getItem("squelch-author") || ""; } catch (e) { return ""; } }

  document.addEventListener("submit", (event) => {
    const author = one("input[data-author]:not([type=hidden])", event.target);
    if (author) try { localStorage.setItem("squelch-author", author.value); } catch (e) { /* private window */ }
  });

  // What a person reads or has opened is not taken away under their eyes.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id !== "live") return;
    const selected = String(window.getSelection());
    const writing = document.activeElement && event.target.contains(document.activeElement) &&
      document.activeElement.matches("input, select, textarea");
    if (document.hidden || selected || writing || one("dialog[open]")) event.preventDefault();
  });
  let focused = null;
  document.addEventListener("htmx:beforeSwap", () => {
    const here = document.activeElement;
    focused = here && here.closest("#live") ? { id: here.id, row: rows().indexOf(here) } : null;
  });
  document.addEventListener("htmx:afterSettle", () => {
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
    else if (/^[1-5]$/.test(event.key) && views[event.key - 1]) views[event.key - 1].click();
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
