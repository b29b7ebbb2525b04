"""Draws the frontier of pages against incidents paged as an SVG: see tests/sensitivity."""
import math
import os
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, GAP, LEFT, TOP, BOTTOM = 330, 250, 62, 62, 100, 70
INK, PALE, LINE, OWN, OTHER = "#1f2933", "#d9dee4", "#2f6fb3", "#c2410c", "#7b8794"


@dataclass
class Panel:
    """One history: a sweep of one constant, named profiles, and what others do: (name, pages, paged)."""

    stream: str
    key: str
    sweep: list
    named: dict
    others: list


def published(directory, stream):
    """The rows of the README that model Alertmanager for one history."""
    found, current = [], ""
    for line in open(os.path.join(directory, "README.md")):
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if len(cells) != 5 or not cells[2].replace(",", "").isdigit():
            continue
        current = cells[0] or current
        policy = cells[1]
        if current == stream and policy.startswith("Alertmanager"):
            name = policy.replace("Alertmanager by ", "")
            found.append((name, int(cells[2].replace(",", "")), int(cells[3])))
    return found


def svg(panels):
    """The whole picture, three panels beside each other."""
    rows = -(-len(panels) // 3)
    width = LEFT + 3 * (WIDTH + GAP)
    height = TOP + rows * (HEIGHT + BOTTOM + 40)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="11" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(LEFT, 26, "What fewer pages cost: share of the incidents that were paged, against pages sent", 16, weight="bold"),
    ]
    x = LEFT
    for kind, label in [("line", "balanced, one constant swept"), ("own", "Squelch's profiles"),
                        ("other", "Alertmanager grouping by these labels; a fixed window")]:
        parts.append(f'<path d="M{x} 44h22" stroke="{LINE}" stroke-width="2"/>' if kind == "line"
                     else mark(x + 11, 44, kind))
        parts.append(text(x + 30, 48, label))
        x += 260
    for index, panel in enumerate(panels):
        down = index // 3 * (HEIGHT + BOTTOM + 40)
        parts.append(f'<g transform="translate(0 {down})">')
        parts += draw(panel, LEFT + index % 3 * (WIDTH + GAP))
        parts.append("</g>")
    return "\n".join(parts) + "\n</svg>\n"


def draw(panel, left):
    """One panel, its frame at `left`."""
    most = panel.sweep[0]["incidents"]
    points = [(s["pages"], s["incidents_paged"]) for s in panel.sweep]
    own = [(name, s["pages"], s["incidents_paged"]) for name, s in panel.named.items()]
    pages_of = [p for p, _ in points] + [p for _, p, _ in own + panel.others]
    least, right = min(pages_of) / 1.25, max(pages_of) * 1.25
    low = min([n for _, n in points] + [n for _, _, n in own + panel.others])
    # At least a tenth of the incidents, so that one more or less does not look like much.
    bottom = max(0, min(low - max(1, round((most - low) * 0.15)), round(most * 0.9)))

    def at(pages, paged):
        share = math.log(pages / least) / math.log(right / least)
        return left + share * WIDTH, TOP + HEIGHT - (paged - bottom) / (most - bottom) * HEIGHT

    parts = [text(left, TOP - 26, f"{panel.stream}: {most} incidents", 13, weight="bold")]
    for step in range(5):
        paged = bottom + (most - bottom) * step / 4
        _, y = at(least, paged)
        parts.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="{PALE}"/>')
        parts.append(text(left - 8, y + 4, f"{100 * paged / most:.0f} %", anchor="end"))
    steps = lambda digits: [n * 10**power for power in range(1, 5) for n in digits if least <= n * 10**power <= right]
    for pages in steps((1, 2, 5)) if len(steps((1, 2, 5))) > 2 else steps((1, 2, 3, 4, 5, 7)):
        x, _ = at(pages, bottom)
        parts.append(f'<path d="M{x:.1f} {TOP + HEIGHT}v5" stroke="{INK}"/>')
        parts.append(text(x, TOP + HEIGHT + 18, f"{pages:,}", anchor="middle"))
    parts.append(text(left + WIDTH / 2, TOP + HEIGHT + 36, "pages (logarithmic)", anchor="middle"))
    parts.append(text(left + WIDTH / 2, TOP + HEIGHT + 54, f"swept: {panel.key}", anchor="middle", colour=LINE))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in sorted(points)))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="2"/>')
    for point in points:
        x, y = at(*point)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{LINE}"/>')
    marks = [at(pages, paged) for _, pages, paged in own + panel.others]
    taken = [(x - 5, x + 5, y - 5, y + 5) for x, y in marks]
    for kind, rows in [("own", own), ("other", panel.others)]:
        for name, pages, paged in rows:
            x, y = at(pages, paged)
            parts.append(mark(x, y, kind))
            parts.append(label(x, y, name, left, kind, taken))
    return parts


def label(x, y, name, left, kind, taken):
    """A name beside its mark, where there is room."""
    wide = 6.0 * len(name)
    for dx, dy, anchor in [(9, 15, "start"), (9, -8, "start"), (-9, -8, "end"), (-9, 15, "end"), (9, 29, "start"),
                           (-9, 29, "end"), (9, 43, "start"), (-9, 43, "end"), (9, 57, "start"), (-9, 57, "end")]:
        start = x + dx - (wide if anchor == "end" else 0)
        top = y + dy - 10
        inside = start >= left and start + wide <= left + WIDTH + 30 and TOP - 22 <= top <= TOP + HEIGHT - 12
        free = all(start > r or start + wide < l or top > b or top + 12 < t for l, r, t, b in taken)
        if inside and free:
            break
    taken.append((start, start + wide, top, top + 12))
    return text(x + dx, y + dy, name, anchor=anchor, colour=OWN if kind == "own" else OTHER)


def mark(x, y, kind):
    if kind == "own":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{OWN}"/>'
    return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{OTHER}"/>'


def text(x, y, words, size=11, anchor="start", weight="normal", colour=INK):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
            f'fill="{colour}">{escape(words)}</text>')

