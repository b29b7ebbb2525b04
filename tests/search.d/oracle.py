"""Judges the notifications that receivers accepted. It knows the truth, the routes and the documents.

It knows nothing of the program. Its bounds are generous: it finds a page that is lost, and not one that is a
minute late. Where a document leaves a choice open, it accepts each choice.
"""

import re

import scenario as S
from scenario import DAY, MIN
from truth import ALONE_LASTS, ALONE_QUIET, EVERY_LEVEL, FLAPS_HALF_LIVES, GROWTH_FROM, Truth, subtract

# Causes of the end of an incident. After the second one, its alerts go on in another incident.
OVER = "all alerts of the incident resolved"
GOES_ON = re.compile("took its place|in another incident now")


class Incident:
    """All that one receiver accepted under one key, from a page to its resolve."""

    def __init__(self, page):
        self.receiver, self.page, self.rows = page.receiver, page, [page]
        # When its resolve left, and when it was over. A receiver without keys cannot tell the incidents of a
        # group apart. It gets their resolves when no alert of the group fires.
        self.closed = self.gone = None

    def open(self, t):
        return self.page.at <= t and (self.gone is None or self.gone > t)

    def __repr__(self):
        return f"#{self.page.incident[:6]} at {self.receiver} of {self.page.at}"


class Judge:
    """Holds the notifications of one scenario against the invariants."""

    def __init__(self, s, rows):
        self.s, self.bad = s, []
        copies = [r for r in rows if r.receiver == S.LEAD]
        self.rows = [r for r in rows if r.receiver != S.LEAD]
        self.truth = Truth(s, self.rows)
        self.incidents = self.keys(self.rows)
        self.copies = self.keys(copies)
        self.pairs = {}
        for alert in self.truth.alerts:
            for d in alert.destinations:
                self.pairs.setdefault((alert, d.receiver), []).append(d)

    def wrong(self, invariant, text):
        self.bad.append((invariant, text))

    def at(self, receiver):
        return [i for i in self.incidents if i.receiver == receiver]

    def members(self, incident):
        """The alerts that the incident shows, and their destinations at its receiver."""
        alerts = {self.truth.find(labels) for r in incident.rows for labels, _ in r.alerts} - {None}
        return alerts, [d for a in alerts for d in a.at(incident.receiver)]

    def shown(self, receiver, alert, t):
        """The open incident that shows the alert as firing at t."""
        for i in self.at(receiver):
            if i.open(t):
                states = [self.truth.shows(r, alert) for r in i.rows if r.at <= t]
                states = [x for x in states if x is not None]
                if states and states[-1]:
                    return i
        return None

    def keys(self, rows):
        """Under each key, pages and resolves take turns."""
        opened, out = {}, []
        for row in rows:
            key = (row.receiver, row.incident)
            if row.kind == "digest":
                continue
            if key not in opened:
                if row.kind != "page":
                    self.wrong("6-not-open", f"a notification of an incident that is not open: {row}")
                    continue
                opened[key] = Incident(row)
                out.append(opened[key])
                continue
            if row.kind == "page":
                self.wrong("6-open-key", f"a page under an open key: {row}")
            opened[key].rows.append(row)
            if row.kind == "resolve":
                opened.pop(key).closed = row.at
        for i in out:
            ends = [r for r in i.rows if r.kind != "page" and (OVER in r.why or GOES_ON.search(r.why))]
            shown = {labels for r in i.rows for labels, _ in r.alerts}
            places = [
                j.page.at
                for j in out
                if j is not i
                and j.receiver == i.receiver
                and ends
                and i.page.at <= j.page.at <= ends[0].at
                and ("in another incident now" in ends[0].why or f"({j.page.why})" in ends[0].why)
                and shown & {labels for labels, _ in j.page.alerts}
            ]
            i.gone = min([r.at for r in ends[:1]] + places[-1:], default=i.closed)
        return out

    def told(self):
        """1: an alert that fires for long enough is shown as firing."""
        truth = self.truth
        for (alert, receiver), its in self.pairs.items():
            if len(its) > 1 and any(d.mute or d.active for d in its):
                continue
            mutes = truth.muted(alert, its[0])
            for a, b in alert.occ:
                if any(truth.usual(alert, d, a - truth.slack) for d in its):
                    continue
                if mutes and any(truth.may_flap(alert, d, a) for d in its):
                    continue
                for x, y in subtract([(a, b)], mutes):
                    bound = max(truth.bound(alert, d, x) for d in its)
                    bound = max([bound] + [truth.bound(alert, d, x + bound) for d in its])
                    t = truth.delivered(x, bound)
                    if t < y - truth.slack and t <= truth.horizon and not self.shown(receiver, alert, t):
                        self.wrong(
                            "1-untold",
                            f"{alert.name} fires from {x} to {y}, and {receiver} does not show it "
                            f"at {t} (bound {bound})",
                        )

    def wakes(self):
        """2: a new problem is a page, not an update of an old one."""
        truth = self.truth
        for (alert, receiver), its in self.pairs.items():
            d = its[0]
            # If the groups differ, the oracle does not know the group of an incident.
            alike = all(x.group_by == d.group_by for other in truth.alerts for x in other.at(receiver))
            if len(its) > 1 or not alike or self.s.get("deliveries") or truth.held(alert, d):
                continue
            for a, b in alert.occ:
                bound = truth.bound(alert, d, a)
                if b - a <= bound + truth.slack or any(truth.may_flap(alert, d, t) for t in (a, a + bound)):
                    continue
                if truth.usual(alert, d, a - truth.slack) or truth.may_be_alone(alert, d, a + bound):
                    continue
                if truth.muted_within(alert, its, a - truth.slack, a + bound):
                    continue
                first = [
                    (r.at, r.kind != "page", -n, i, r)
                    for n, i in enumerate(self.at(receiver))
                    for r in i.rows
                    if r.at >= a and r.kind != "resolve" and truth.shows(r, alert)
                    # Without keys, updates of an incident that is over tell how its group stands.
                    and (i.gone is None or r.at < i.gone)
                ]
                if first and min(first, key=lambda x: x[:3])[1]:
                    self.only_updated(alert, d, a, *min(first, key=lambda x: x[:3])[3:])

    def only_updated(self, alert, d, a, incident, row):
        """Judges an update that is the first notification of an alert that started at a."""
        truth, n, page = self.truth, d.noise, incident.page
        earlier = [r for r in incident.rows if r.at < a - 0.001]
        member = any(truth.shows(r, alert) is not None for r in earlier)
        others = {truth.find(labels) for r in incident.rows if r.at <= row.at for labels, _ in r.alerts}
        kin = [
            o
            for o in others - {None, alert}
            if any(x.node == d.node and x.group(o.labels) == d.group(alert.labels) for x in o.destinations)
        ]
        merges = n["storm"]["start"] or n["limit"]["pages"]
        if not kin and not member and (alert.never_hold or not merges):
            self.wrong(
                "2-foreign-update",
                f"{alert.name} starts at {a}, and an incident of other groups has it: {row}",
            )
        if not alert.never_hold and merges and (self.many_starts(d, a) or self.many_pages(d, a)):
            return
        rolls = n["rolling"] and not alert.never_hold and not member
        last_start, last_end = max([x for x in alert.occ if x[1] < a] or [(1e9, -1e9)])
        # A blip that joined and ended between two updates is a member that no message named.
        joined = member or page.at <= last_start <= page.at + n["merge_window"] + truth.slack
        back = joined and a - last_end <= n["resolve_hold"] + truth.slack
        # At a webhook, an update of another incident of the group may show it first.
        webhook = self.s["integration"] == "webhook"
        own = webhook and any(
            j.page.at < a <= j.page.at + n["merge_window"] + truth.slack + alert.hold
            and (j.closed is None or j.closed > a)
            and any(truth.shows(r, alert) for r in j.rows if r.at < a)
            for j in self.at(d.receiver)
        )
        # An update there also names alerts of the group that still wait for their page.
        until = a + truth.bound(alert, d, a) + truth.slack
        paged = webhook and any(a <= j.page.at <= until and truth.shows(j.page, alert) for j in self.at(d.receiver))
        if page.at + n["merge_window"] + truth.slack + alert.hold < a and not (rolls or back or own or paged):
            self.wrong(
                "2-no-wake",
                f"{alert.name} starts at {a}, {a - page.at:.0f} s after the page of {incident}, and "
                f"is only an update: {row}",
            )
        known = [
            S.severity_level(dict(labels))
            for r in incident.rows
            if r.at <= row.at and r is not row
            for labels, _ in r.alerts
        ]
        if n["escalate"] and not alert.sevs and alert.level < min(known):
            self.wrong(
                "2-no-escalation", f"{alert.name} is worse than the page, and is only an update: {row}"
            )

    def many_starts(self, d, t):
        """Whether enough alerts start around t for a storm."""
        window = d.noise["storm"]["window"]
        starts = [
            x
            for a in self.truth.alerts
            for _ in a.at(d.receiver)
            for x, _ in a.occ
            if t - 3 * window <= x <= t + window
        ]
        return d.noise["storm"]["start"] and len(starts) > d.noise["storm"]["start"]

    def many_pages(self, d, t):
        """Whether enough pages leave around t for the limit."""
        limit = d.noise["limit"]
        pages = [i for i in self.at(d.receiver) if abs(i.page.at - t) <= 2 * limit["per"]]
        return limit["pages"] and len(pages) >= limit["pages"]

    def closes(self):
        """3: an incident closes after its last alert resolved, and not long after."""
        truth = self.truth
        for i in self.incidents:
            members, its = self.members(i)
            if not its:
                continue
            last = i.rows[-1].at if i.closed is None else i.closed
            over = max([b for m in members for a, b in m.occ if a <= last + truth.slack] or [0])
            bound = max(
                max(over, i.page.at) + max(d.noise["resolve_hold"] for d in its),
                i.page.at + max(d.noise["merge_window"] for d in its) * 1.1,
            )
            here = [(m, d) for m in members for d in m.at(i.receiver)]
            flaps = [
                d.noise["flapping"]["half_life"] * FLAPS_HALF_LIVES + 10 * MIN
                for m, d in here
                if truth.may_flap(m, d, over)
            ]
            lone = {m for m, d in here if truth.may_be_alone(m, d, i.page.at)}
            ends = [max(b, i.page.at) for m in lone for a, b in m.occ if a <= last + truth.slack]
            bound = max([bound, *(end + ALONE_QUIET for end in ends)]) + max(flaps, default=0)
            bound = truth.delivered(bound, 2 * truth.slack + max(d.group_interval for d in its) + 10)
            if i.closed is None and bound < truth.horizon:
                self.wrong("3-never-closed", f"{i} is open at the end, its last alert resolved at {over}")
            elif i.closed and i.closed > bound and not truth.mutable and i.receiver not in truth.merged_at:
                # At a webhook, an incident closes once its group has, and each resolve has its own retries.
                beside = [
                    j
                    for j in self.at(i.receiver)
                    if j is not i and j.page.at <= bound and (j.closed is None or j.closed >= i.closed)
                ]
                if self.s["integration"] == "webhook" and beside:
                    continue
                self.wrong("3-closed-late", f"{i} closes at {i.closed}, bound {bound}, resolved at {over}")
            if i.closed is not None and not GOES_ON.search(i.rows[-1].why) and not self.s.get("deliveries"):
                self.closed_early(i, members, its)

    def closed_early(self, i, members, its):
        truth = self.truth
        later = {
            truth.find(labels)
            for j in self.at(i.receiver)
            if j is not i and j.page.at >= i.page.at
            for r in j.rows
            for labels, _ in r.alerts
        }
        least = min(d.noise["resolve_hold"] for d in its)
        # At a webhook, an update of an incident that is over may name an alert that Squelch withholds.
        keyless = self.s["integration"] == "webhook"
        rows = [r for r in i.rows if r.kind == "page" or not keyless]
        for m in members - later:
            for a, b in m.occ:
                told = any(a <= r.at < i.gone and truth.shows(r, m) for r in rows)
                if a <= i.closed and told and i.closed < b + least - truth.slack - 1:
                    self.wrong("3-closed-early", f"{i} closes at {i.closed}, and {m.name} resolves at {b}")
        # If its group had another incident within a day, the incident stays open for at least merge_window.
        groups = {(d.node, d.group(m.labels)) for m in members for d in m.at(i.receiver)}
        before = [
            j
            for j in self.at(i.receiver)
            if i.page.at - DAY < j.page.at < i.page.at
            and {(d.node, d.group(m.labels)) for m in self.members(j)[0] for d in m.at(i.receiver)} == groups
        ]
        if len(groups) == 1 and before and i.page.why == "first page" and i.receiver not in truth.merged_at:
            if i.closed < i.page.at + min(d.noise["merge_window"] for d in its) - 1:
                self.wrong(
                    "12-stays-open",
                    f"{i} closes {i.closed - i.page.at:.0f} s after its page, within merge_window",
                )

    def truthful(self):
        """4: no notification says that an alert resolved while it fires, nor the reverse."""
        truth = self.truth
        for i in self.incidents:
            for row in i.rows:
                if row.at in truth.hangs:
                    # The receiver took a notification that Squelch decided earlier.
                    continue
                for labels, resolved in row.alerts:
                    alert = truth.find(labels)
                    if alert is None or not alert.at(i.receiver):
                        self.wrong("4-unknown", f"no such alert for {i.receiver}, {sorted(labels)}: {row}")
                        continue
                    self.true_word(i, row, alert, resolved)

    def true_word(self, i, row, alert, resolved):
        truth, its = self.truth, alert.at(i.receiver)
        end = row.kind == "resolve"
        if not resolved and not end and not alert.maybe(row.at, truth.slack) and not truth.mutable:
            if not any(truth.may_flap(alert, d, row.at) or truth.may_be_alone(alert, d, row.at) for d in its):
                self.wrong("4-false-firing", f"{alert.name} does not fire at {row.at}: {row}")
        if not (resolved or end) or not alert.surely(row.at, truth.slack):
            return
        # A new occurrence may still wait, and it may be muted.
        o = alert.occurrence(row.at)
        bound = max(truth.bound(alert, d, o[0] if end else row.at) for d in its)
        if any(truth.usual(alert, d) for d in its) or row.at <= truth.delivered(o[0], bound):
            return
        if not truth.muted_within(alert, its, o[0], row.at) and not self.shown(i.receiver, alert, row.at):
            self.wrong(
                "4-false-resolved",
                f"{alert.name} fires since {o[0]}, and no other open incident has it: {row}",
            )

    def news(self):
        """5: a page has something new."""
        truth = self.truth
        for i in self.incidents if not self.s.get("deliveries") else []:
            page, new = i.page, False
            if not page.alerts:
                self.wrong("5-empty", f"it names no alert: {page}")
            shown = [truth.find(labels) for labels, _ in page.alerts]
            shown = [alert for alert in shown if alert]
            # At a receiver without keys, an update may name an alert of its group that waits for its page.
            kinds = ("page",) if self.s["integration"] == "webhook" else ("page", "update")
            for alert in shown:
                starts = [a for a, _ in alert.occ if a <= page.at + truth.slack]
                if not starts:
                    self.wrong("5-before", f"{alert.name} pages before it fires: {page}")
                    continue
                told = any(
                    max(starts) - truth.slack <= r.at < page.at
                    and r.kind in kinds
                    and truth.shows(r, alert)
                    for j in self.at(i.receiver)
                    for r in j.rows
                    if j.gone is None or r.at < j.gone
                )
                new |= not told or len(alert.at(i.receiver)) > 1
            if new:
                continue
            damped = [truth.may_flap(m, d, page.at) for m in shown for d in m.at(i.receiver)]
            if "which is higher than the page said" in page.why:
                earlier = self.incidents[: self.incidents.index(i)]
                before = [
                    EVERY_LEVEL.index(j.page.severity)
                    for j in earlier
                    if j.receiver == i.receiver and (j.closed is None or j.closed >= page.at)
                ]
                if before and EVERY_LEVEL.index(page.severity) >= max(before):
                    self.wrong("5-escalation", f"nothing is worse: {page}")
            elif re.search("still fires after|flapping alerts fire together", page.why):
                if not truth.mutable and not any(damped):
                    self.wrong("5-flapping", f"no alert can flap: {page}")
            elif "lasts: it fires for" in page.why:
                long = [
                    m
                    for m in shown
                    # A sender may say a little later that it ended.
                    for occurrence in [m.occurrence(page.at) or m.occurrence(page.at - truth.slack)]
                    if occurrence and page.at - occurrence[0] >= ALONE_LASTS - truth.slack
                ]
                if not long and not truth.mutable:
                    self.wrong("5-lasts", f"no alert fires for 30 minutes: {page}")
            elif "alerts fire, at least" not in page.why:
                self.wrong("5-no-news", f"the receiver has all of it: {page}")

    def levels(self):
        """8: a page or an update named the level of each alert that fires, or a higher one."""
        truth = self.truth
        for (alert, receiver), its in self.pairs.items():
            d = its[0]
            if len(its) > 1 or not d.noise["escalate"] or truth.usual(alert, d) or truth.muted(alert, d):
                continue
            for x, y, level in alert.spans():
                t = truth.delivered(x, truth.bound(alert, d, x))
                if truth.may_flap(alert, d, x) or t >= y - truth.slack or t > truth.horizon:
                    continue
                i = self.shown(receiver, alert, t)
                named = (
                    [EVERY_LEVEL.index(r.severity) for r in i.rows if r.at <= t and r.severity] if i else []
                )
                if named and min(named) > level:
                    self.wrong(
                        "8-level", f"{alert.name} is {EVERY_LEVEL[level]} from {x}, and {i} is not at {t}"
                    )

    def once(self):
        """9: one alert stands in one incident of a destination."""
        truth = self.truth
        for (alert, receiver), its in self.pairs.items():
            mine = [i for i in self.at(receiver) if any(truth.shows(r, alert) for r in i.rows)]
            if (
                len(its) > 1
                or self.s.get("deliveries")
                or len(mine) < 2
                or self.s["integration"] == "webhook"
            ):
                continue
            for t in sorted({r.at for i in mine for r in i.rows}):
                # A minute later, each change of this time is delivered.
                both = []
                began = (alert.occurrence(t) or [t])[0] - truth.slack
                for i in mine:
                    # An update leaves out an alert that fires in another incident now.
                    last = [r for r in i.rows if r.at <= t + 60][-1:]
                    # Its alerts resolved, and it stays open: until a little after merge_window, or until the
                    # alert that opened it alone was quiet for 2 h.
                    lone = [m for m in self.members(i)[0] if truth.may_be_alone(m, its[0], i.page.at)]
                    quiet = [b + ALONE_QUIET for m in lone for _, b in m.occ if b <= t]
                    stays = max([i.page.at + 1.1 * its[0].noise["merge_window"], *quiet])
                    lingers = last and last[0].at < began and t + 60 <= stays + truth.slack
                    if i.open(t) and i.open(t + 60) and last and truth.shows(last[0], alert) and not lingers:
                        both.append(i)
                sure = alert.surely(t, truth.slack) and alert.surely(t + 60, truth.slack)
                held = truth.may_flap(alert, its[0], t) or truth.may_be_alone(alert, its[0], t)
                if len(both) > 1 and sure and not held:
                    self.wrong("9-double", f"{alert.name} fires in two incidents at {t}: {both}")

    def pace(self):
        """10: updates keep their distance. 11: open incidents repeat."""
        truth = self.truth
        for i in self.incidents:
            members, its = self.members(i)
            if not its or self.s.get("deliveries") or i.receiver in truth.merged_at:
                continue
            least = min(d.group_interval for d in its)
            repeat = (
                max(d.repeat_interval for d in its) + 2 * max(d.group_interval for d in its) + truth.slack
            )
            rows = [r for r in i.rows if i.gone is None or r.at < i.gone or r.kind == "resolve"]
            for x, y in zip(rows, rows[1:]):
                if (
                    x.kind == y.kind == "update"
                    and y.at - x.at < least - 0.01
                    and not y.why.startswith("repeated")
                ):
                    self.wrong("10-pace", f"{y.at - x.at:.1f} s after {x}: {y}")
                lasts = any(
                    m.occurrence(x.at - truth.slack) == m.occurrence(x.at + repeat - 1) is not None
                    for m in (truth.find(labels) for labels in x.firing())
                )
                mutes = any(truth.muted(m, d) for m in members for d in m.destinations)
                # A receiver without keys also gets alerts that fire in another incident of the group.
                mutes = mutes or self.s["integration"] == "webhook"
                if (
                    min(y.at, i.gone or y.at) - x.at > repeat
                    and len({d.node for d in its}) == 1
                    and lasts
                    and not mutes
                ):
                    self.wrong("11-no-repeat", f"nothing for {y.at - x.at:.0f} s after {x}")

    def growth(self):
        """13: an incident that grows enough pages again."""
        truth = self.truth
        for i in self.incidents:
            its = self.members(i)[1]
            if not its or self.s.get("deliveries") or any(d.noise["growth"] == 0 for d in its):
                continue
            settled = i.page.at + max(d.noise["merge_window"] for d in its) / 3
            settled += max(d.group_interval for d in its) + truth.slack
            paged = max(len(r.alerts) for r in i.rows if r.at <= settled)
            least = max(GROWTH_FROM, max(d.noise["growth"] for d in its) * paged)
            for r in i.rows:
                if r.kind == "update" and r.at > settled and len(r.firing()) >= least:
                    self.wrong(
                        "13-no-growth", f"{len(r.firing())} alerts fire, and the page had {paged}: {r}"
                    )

    def digests(self):
        """14: an alert of which nobody was notified stands in a digest."""
        truth = self.truth
        for (alert, receiver), its in self.pairs.items():
            n, period = its[0].noise, its[0].noise["digest"]
            if len(its) > 1 or not period or self.s.get("deliveries") or truth.muted(alert, its[0]):
                continue
            if alert.never_hold or alert.sevs:
                continue
            here = [r for r in self.rows if r.receiver == receiver and truth.shows(r, alert) is not None]
            for a, b in alert.occ:
                bound = truth.bound(alert, its[0], a)
                end = next((x for x, _ in alert.occ if x > a), truth.horizon)
                if (
                    b + 2 * period + bound > truth.horizon
                    or b - a < truth.slack
                    or truth.may_flap(alert, its[0], b)
                ):
                    continue
                if any(a <= r.at < end + bound for r in here if r.kind in ("page", "update")):
                    continue
                # An alert that returned to its incident before that closed changed nothing.
                late = any(r.kind == "page" and a - n["resolve_hold"] < r.at <= b for r in here)
                if late or self.shown(receiver, alert, a - 0.001):
                    continue
                # It joined an incident that closed before an update was due, so the resolve lists it.
                ends = [r for r in here if r.kind == "resolve"]
                if any(a <= r.at < end + bound and self.is_first(r, alert) for r in ends):
                    continue
                if not any(r.kind == "digest" and a <= r.at <= b + 2 * period + bound for r in here):
                    self.wrong(
                        "14-no-digest",
                        f"{alert.name} fires from {a} to {b}, and {receiver} gets neither a "
                        f"notification nor a digest about it (every {period} s)",
                    )

    def is_first(self, row, alert):
        """Whether the row is the first one of its incident that names the alert."""
        here = [i for i in self.incidents if row in i.rows]
        return all(self.truth.shows(r, alert) is None for i in here for r in i.rows if r is not row)

    def escalations(self):
        """15: the second receiver gets an incident that no person acknowledges in time, and its end."""
        if self.s.get("deliveries"):
            return
        respond = [level.get("respond_within") for level in self.s["levels"]]
        for copy in self.copies:
            key = copy.page.incident
            mine = [i for i in self.incidents if i.page.incident == key and i.page.at <= copy.page.at]
            if not mine or mine[-1].closed is not None and mine[-1].closed < copy.page.at:
                self.wrong("15-closed", f"{copy.page} escalates an incident that is not open")
                continue
            original, first = mine[-1], mine[-1].page
            # A page that is worse goes to both receivers at once.
            least = (
                min(x for x in respond if x) if first.why == "first page" and not self.truth.mutable else 0
            )
            if copy.page.at < first.at + least - 1:
                self.wrong("15-early", f"{copy.page} escalates {original} too early")
            ends = [-1 if i.closed is None else i.closed for i in (copy, original)]
            # A receiver without keys gets the end only when no alert of the group fires.
            if abs(ends[0] - ends[1]) > 1 and self.s["integration"] != "webhook":
                self.wrong("15-end", f"{copy} closes at {copy.closed}, and {original} at {original.closed}")
        copied = {i.page.incident for i in self.copies}
        for i in self.incidents:
            if i.page.incident not in copied and not self.truth.mutable:
                self.not_escalated(i, respond)

    def not_escalated(self, i, respond):
        """Judges an incident that the second receiver never gets."""
        truth, members = self.truth, self.members(i)[0]
        levels = {level for m in members for level in m.levels}
        within = respond[min(levels)] if len(levels) == 1 else None
        if not within or not i.open(i.page.at + within + MIN):
            return
        t = i.page.at + within
        # A second receiver that has the alert by another incident is not paged for it again. An alert that joined
        # that incident is told by an update, which waits for group_interval.
        owed = t + 1 + max(d.group_interval for m in members for d in m.destinations)
        there = [r for c in self.copies if c.open(t + 1) for r in c.rows if r.at <= owed]
        for m in members:
            if any(truth.shows(r, m) for r in there):
                continue
            # At a webhook, only the page of its successor shows that another incident took its place.
            later = [j.page for j in self.at(i.page.receiver) if i.page.at < j.page.at <= t]
            if self.s["integration"] == "webhook" and any(truth.shows(page, m) for page in later):
                continue
            told = [r.at for r in i.rows if r.at <= t and truth.shows(r, m) and m.surely(r.at, 0)]
            if m.surely(t, truth.slack + 1) and any(m.occurrence(at) == m.occurrence(t) for at in told):
                if t + MIN < truth.horizon:
                    self.wrong("15-not-escalated", f"{i} is open and not acknowledged at {t}")


def judge(s, rows):
    """[(invariant, text)]: the breaches in the accepted notifications of a scenario."""
    j = Judge(s, rows)
    for check in (
        j.told,
        j.wakes,
        j.closes,
        j.truthful,
        j.news,
        j.levels,
        j.once,
        j.pace,
        j.growth,
        j.digests,
        j.escalations,
    ):
        check()
    return j.bad
