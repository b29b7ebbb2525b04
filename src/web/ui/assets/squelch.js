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

  const stored = (key) => { try { return localStorage.getItem(key) || ""; } catch (e) { return ""; } };
  const store = (key, value) => { try { localStorage.setItem(key, value); } catch (e) { /* private window */ } };

  // One zone for every time of the page: that of this browser, or UTC.
  let format = {};
  function zone() {
    const timeZone = stored("squelch-zone") === "utc" ? "UTC" : undefined;
    const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone };
    format = {
      clock: new Intl.DateTimeFormat(undefined, { ...time, timeZoneName: "short" }),
      time: new Intl.DateTimeFormat(undefined, time),
      day: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone }),
    };
    const button = one("#zone");
    if (button) { button.hidden = false; button.setAttribute("aria-pressed", String(!!timeZone)); }
  }

  function moment(t) {
    const at = new Date(t.getAttribute("datetime")), day = format.day.format(at);
    const today = t.matches(".short") && day === format.day.format(new Date(Date.now() + ahead));
    return (today ? "" : day + ", ") + format.time.format(at);
  }

  function dress() {
    const live = one("#live"), status = one("#status");
    const now = Number((live || document.body).dataset.now);
    ahead = now - Date.now();
    if (live && status) set(status, live.dataset.summary);
    zone();
    for (const t of all("time.at")) set(t, moment(t));
    for (const t of all("svg title[datetime]")) set(t, moment(t) + " " + t.dataset.text);
    const made = one("#made");
    if (made) { made.classList.remove("paused"); made.textContent = "as of " + format.clock.format(new Date(now)); }
    offer();
    const author = stored("squelch-author");
    for (const input of all("input[data-author]")) if (!input.value) input.value = author;
    count();
  }

  document.addEventListener("submit", (event) => {
    // With this script the count follows what is written, so it need not be confirmed.
    const matchers = one("[data-counted]", event.target), counted = one("[name=counted]", event.target);
    if (matchers && counted) counted.value = matchers.value;
    const author = one("input[data-author]:not([type=hidden])", event.target);
    if (author) store("squelch-author", author.value);
  });

  const LOST = "Connection lost";

  // A server that does not answer must not look like a quiet one.
  function lose(why) {
    lost = { since: lost ? lost.since : good, why };
    if (!document.title.startsWith(LOST)) document.title = LOST + " · " + document.title;
    document.body.classList.add("lost");
    const bar = one("#lost");
    bar.hidden = false;
    set(bar, "Connection lost since " + format.clock.format(new Date(lost.since + ahead)) + " (" + lost.why + "). " +
      "This page shows what was true then. It goes on by itself once the server answers.");
  }

  function answered(page) {
    good = Date.now();
    const next = page.querySelector("#standing"), here = one("#standing");
    // What is read out is replaced only when it says something else.
    if (next && here && next.dataset.key !== here.dataset.key) here.replaceWith(document.importNode(next, true));
    document.title = page.title;
    const icon = one("link[rel=icon]"), drawn = one("link[rel=icon]", page);
    if (icon && drawn && icon.getAttribute("href") !== drawn.getAttribute("href")) icon.setAttribute("href", drawn.getAttribute("href"));
    tell(page);
    if (!lost) return;
    lost = null;
    one("#lost").hidden = true;
    document.body.classList.remove("lost");
  }

  // Notifications of new incidents, for a person who asked for them, while this page is open.
  const notifies = () => stored("squelch-notify") === "on" && window.Notification && Notification.permission === "granted";
  let newest = null; // when the newest incident opened that was on the page
  function tell(page) {
    const rows = all("tr[data-opened]", page), opened = (row) => Number(row.dataset.opened);
    if (newest !== null && notifies())
      for (const row of rows.filter((row) => opened(row) > newest)) {
        const summary = one(".summary", row) || one(".why", row);
        const news = new Notification(one(".what a", row).textContent, { body: summary ? summary.textContent : "", tag: row.dataset.incident });
        news.onclick = () => { window.focus(); };
      }
    newest = Math.max(newest || 0, ...rows.map(opened));
  }

  function offer() {
    const button = one("[data-notify]");
    if (!button) return;
    button.hidden = !window.Notification || Notification.permission === "denied";
    button.setAttribute("aria-pressed", String(!!notifies()));
  }

  function notify() {
    if (notifies()) { store("squelch-notify", "off"); return offer(); }
    Notification.requestPermission().then((answer) => { store("squelch-notify", answer === "granted" ? "on" : "off"); offer(); });
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

  // A refresh keeps the focus, and what a person has opened or closed.
  const FOCUS = "a[href], button, summary, [tabindex]";
  let focused = null, folds = new Map();
  document.addEventListener("htmx:beforeSwap", () => {
    const here = document.activeElement, live = here && here.closest("#live");
    const row = live && here.closest("[data-row]"), named = row && one("[id]", row);
    focused = live && { id: here.id, row: named && named.id, at: all(FOCUS, row || live).indexOf(here),
      line: row ? all("[data-row]").indexOf(row) : -1 };
    folds = new Map(all("#live details[id]").map((fold) => [fold.id, fold.open]));
  });

  function again() {
    const same = focused.id && document.getElementById(focused.id);
    const named = focused.row && document.getElementById(focused.row);
    const row = named ? named.closest("[data-row]") : all("[data-row]")[focused.line];
    const list = all(FOCUS, focused.line < 0 ? one("#live") : row);
    return same || (row || focused.line < 0 ? list[focused.at] || list[0] : null);
  }

  document.addEventListener("htmx:afterSwap", (event) => {
    const error = one("#matchers-error"), matchers = one("[data-counted]");
    if (matchers && error) matchers.setAttribute("aria-invalid", "true");
    else if (matchers) matchers.removeAttribute("aria-invalid");
    if (!ofLive(event)) return;
    dress();
    for (const [id, open] of folds) { const fold = document.getElementById(id); if (fold) fold.open = open; }
    if (!focused || (document.activeElement && document.activeElement !== document.body)) return;
    const next = again();
    if (next) next.focus({ preventScroll: true });
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
    const field = one("#q") || one("form.silence textarea, form.silence input:not([type=hidden])");
    if (event.key === "/" && field) {
      event.preventDefault();
      if (field.id === "q" && one("#fold")) one("#fold").checked = true; // a small screen folds the search
      field.focus();
      if (field.id === "q") field.select();
    }
    else if (event.key === "?") one("#keys").showModal();
    else if (event.key === "ArrowDown" || event.key === "j") { event.preventDefault(); step(1); }
    else if (event.key === "ArrowUp" || event.key === "k") { event.preventDefault(); step(-1); }
    else if (/^[a-z]$/.test(event.key) && keyed(event.key)) { event.preventDefault(); keyed(event.key).click(); }
    else if (/^[1-7]$/.test(event.key) && views[event.key - 1]) views[event.key - 1].click();
  });

  function keyed(key) { // of the row that has the focus, else of the page
    const row = document.activeElement && document.activeElement.closest("[data-row]");
    return (row && one('[data-key="' + key + '"]', row)) || all('[data-key="' + key + '"]').find((e) => !e.closest("[data-row]"));
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys]")) one("#keys").showModal();
    if (event.target.closest("[data-notify]")) notify();
    if (event.target.closest("#zone")) { store("squelch-zone", stored("squelch-zone") === "utc" ? "" : "utc"); dress(); }
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

  // Links into Alertmanager's own pages, which stand in many templates, lead to the pages here.
  function redirect() {
    const link = /^#\/(alerts|silences)\b[^?]*(?:\?(.*))?$/.exec(location.hash);
    if (!link) return;
    const asked = new URLSearchParams(link[2]), page = new URLSearchParams();
    if (asked.get("filter")) page.set("q", asked.get("filter"));
    if (link[1] === "alerts" && asked.get("receiver")) page.set("receiver", asked.get("receiver"));
    const next = new URL(link[1] === "silences" ? "silences" : ".", one("a.brand").href);
    next.search = page;
    location.replace(next);
  }

  document.addEventListener("DOMContentLoaded", () => {
    redirect();
    dress();
    tell(document);
  });
  setInterval(count, 1000);
})();
