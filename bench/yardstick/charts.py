"""Bars and lines as SVG, readable on a light page and on a dark one. Nothing but text is written here."""

from html import escape

COLOURS = {
    "Portcullis": "#d9480f",
    "bare Pingora": "#868e96",
    "nginx": "#2f9e44",
    "nginx + lua-resty-openidc": "#66a80f",
    "nginx + hand-written Lua cache": "#0ca678",
    "HAProxy": "#1c7ed6",
    "Envoy": "#9c36b5",
    "Envoy, its cache off": "#ce8fd9",
}
STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#343a40}.t{font-weight:600;font-size:15px}.s{font-size:12px;fill:#868e96}"
    ".g{stroke:#868e96;stroke-opacity:.35}@media(prefers-color-scheme:dark){text{fill:#dee2e6}.s{fill:#adb5bd}}</style>"
)
WIDTH, LABEL, BAR = 860, 250, 20


def svg(height, parts, title):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return head + STYLE + "".join(parts) + "</svg>\n"


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def bars(title, note, groups):
    """groups: (heading, [(name, value, low, high)]); a bar for each, and a thin line from the lowest to the highest round."""
    most = max(high for _, rows in groups for _, _, _, high in rows)
    scale, parts, y = (WIDTH - LABEL - 70) / most, [text(0, 18, title, "t"), text(0, 37, note, "s")], 58
    for heading, rows in groups:
        parts.append(text(0, y + 12, heading, "t"))
        y += 22
        for name, value, low, high in rows:
            colour = COLOURS.get(name, "#495057")
            parts.append(text(LABEL - 8, y + 14, name, anchor="end"))
            parts.append(
                f'<rect x="{LABEL}" y="{y + 2}" width="{value * scale:.1f}" height="{BAR - 4}" rx="2" fill="{colour}"/>'
            )
            parts.append(
                f'<line class="g" stroke-width="2" x1="{LABEL + low * scale:.1f}" x2="{LABEL + high * scale:.1f}" '
                f'y1="{y + BAR / 2:.0f}" y2="{y + BAR / 2:.0f}"/>'
            )
            parts.append(text(LABEL + high * scale + 6, y + 14, f"{value:.1f}"))
            y += BAR
        y += 12
    return svg(y, parts, title)


def targets(title, note, rows):
    """rows: (name, value or None, low, high, target, stretch); a dot on a line on which target and stretch are marked."""
    parts, y = [text(0, 18, title, "t"), text(0, 37, note, "s")], 60
    most = max([1.0] + [max(target, high or 0) for _, _, _, high, target, _ in rows]) * 1.05
    scale = (WIDTH - LABEL - 70) / most
    for name, value, low, high, target, stretch in rows:
        middle = y + 10
        parts.append(text(LABEL - 8, y + 14, name, anchor="end"))
        parts.append(f'<line class="g" x1="{LABEL}" x2="{LABEL + most * scale:.0f}" y1="{middle}" y2="{middle}"/>')
        for mark, colour in ((target, "#f08c00"), (stretch, "#2f9e44")):
            x = LABEL + mark * scale
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y + 2}" y2="{y + 18}" stroke="{colour}" stroke-width="3"/>'
            )
        if value is None:
            parts.append(text(LABEL + 6, y + 6, "not measured", "s"))
        else:
            parts.append(
                f'<line x1="{LABEL + low * scale:.1f}" x2="{LABEL + high * scale:.1f}" y1="{middle}" y2="{middle}" '
                f'stroke="#d9480f" stroke-opacity=".5" stroke-width="4"/>'
                f'<circle cx="{LABEL + value * scale:.1f}" cy="{middle}" r="5" fill="#d9480f"/>'
            )
            parts.append(text(LABEL + max(value, high, target) * scale + 9, y + 14, f"{value:.2f}"))
        y += 26
    parts.append(text(LABEL, y + 12, "orange: target, green: stretch; left of the mark is better", "s"))
    return svg(y + 24, parts, title)


def lines(title, note, curves):
    """curves: name -> [(number, ratio)]; the number on a logarithmic axis, by place, and the ratio from 0."""
    parts, left, top, height = [text(0, 18, title, "t"), text(0, 37, note, "s")], 50, 56, 220
    most = max([1.2] + [ratio for points in curves.values() for _, ratio in points]) * 1.05
    palette = ("#d9480f", "#1c7ed6", "#2f9e44", "#9c36b5")
    width = (WIDTH - left - 20) / len(curves)
    for tick in range(0, int(most * 4) + 1):
        y = top + height - tick / 4 * height / most
        parts.append(f'<line class="g" x1="{left}" x2="{WIDTH - 20}" y1="{y:.0f}" y2="{y:.0f}"/>')
        parts.append(text(left - 6, y + 4, f"{tick / 4:g}", "s", "end"))
    for place, (name, points) in enumerate(curves.items()):
        x = left + place * width
        step = (width - 50) / max(1, len(points) - 1)
        at = [(x + 25 + n * step, top + height - ratio * height / most) for n, (_, ratio) in enumerate(points)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in at)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{palette[place % 4]}" stroke-width="2.5"/>')
        for (a, b), (number, _) in zip(at, points, strict=True):
            parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{palette[place % 4]}"/>')
            parts.append(text(a, top + height + 16, f"{number:,}", "s", "middle"))
        parts.append(text(x + width / 2, top + height + 34, name, anchor="middle"))
    return svg(top + height + 44, parts, title)
