"""The page `docs/performance.md` as it is generated: sections by part, each replaced by itself, and a summary of ratios
in front that is made from the tables of all sections.

Pure: text in, text out. What a part measured is read back from the tables that it printed, so that the page and its
summary cannot disagree.
"""

import dataclasses
import re
import statistics

HEAD = """# Performance

Tidegate beside real peers at equal work, measured in one run on one machine. This page is written by
`interop/run compare`, which runs every part, and `interop/run compare PART…`, which renews the sections of those
parts; edits by hand are lost. How the parts measure, and figures that no run prints, are in `measuring.md`.
"""
SUMMARY_HEAD = """## Summary

Ratios of Tidegate's cost to the peer's: below 1 Tidegate needs less. CPU is user and system time of the whole process.
"""
# In a section of which something failed.
AMISS = "Not all of it is as it should be"
COLUMNS = "| part | what | beside | Tidegate | peer | ratio |\n|---|---|---|---|---|---|"


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A line of the summary: two costs in the same unit."""

    what: str
    beside: str
    ours: float
    theirs: float

    @property
    def ratio(self):
        return self.ours / self.theirs if self.theirs else float("nan")


class Table:
    """A Markdown table: its columns and rows of text."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows

    def at(self, row, column):
        """The first number in a cell; columns are named by their beginning."""
        return numbers(row[self.place(column)])[0]

    def text(self, row, column):
        return row[self.place(column)]

    def place(self, column):
        found = [place for place, name in enumerate(self.columns) if name.startswith(column)]
        if not found:
            raise KeyError(f"no column {column!r} in {self.columns}")
        return found[0]

    def row(self, *cells):
        """The row whose first cells begin with these."""
        for row in self.rows:
            if all(cell.startswith(begin) for cell, begin in zip(row, cells)):
                return row
        raise KeyError(f"no row {cells} under {self.columns}")


def numbers(cell):
    """All numbers of a cell, thousands grouped or not."""
    found = [float(text.replace(",", "")) for text in re.findall(r"-?\d[\d,]*(?:\.\d+)?", cell)]
    if not found:
        raise ValueError(f"no number in {cell!r}")
    return found


def tables(markdown):
    """The tables in a text, in order."""
    found, rows = [], []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            continue
        if len(rows) > 2:
            found.append(Table(rows[0], rows[2:]))
        rows = []
    return found


def table(markdown, column):
    """The first table that has a column which begins so."""
    for found in tables(markdown):
        if any(name.startswith(column) for name in found.columns):
            return found
    raise KeyError(f"no table has a column {column!r}")


def marks(part):
    return f"<!-- {part} begins -->\n", f"<!-- {part} ends -->\n"


def section_of(page, part):
    """The text of a part's section; none if the page has none."""
    begin, end = marks(part)
    if begin not in page or end not in page:
        return None
    return page.split(begin, 1)[1].split(end, 1)[0]


def rebuilt(page, parts, news, summaries):
    """The page with `news` (text by part) in place of what it had; `parts` are all names in order, `summaries` gives
    the ratios of a part from its section."""
    sections = {part: news.get(part, section_of(page, part)) for part in parts}
    rows, all_ratios = [], []
    for part in parts:
        text = sections[part]
        if text is None:
            rows.append(f"| {part} | not run | | | | |")
            continue
        try:
            ratios = summaries[part](text)
        except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
            rows.append(f"| {part} | failed: see its section ({str(error).strip(chr(34))}) | | | | |")
            continue
        if f"**{AMISS}**" in text:
            # What it measured stands there, and counts for nothing.
            rows.append(f"| {part} | {AMISS[0].lower()}{AMISS[1:]}: see its section; these lines do not count | | | | |")
        else:
            all_ratios += ratios
        for one in ratios:
            rows.append(f"| {part} | {one.what} | {one.beside} | {figure(one.ours)} | {figure(one.theirs)} | {one.ratio:.2f} |")
    out = [HEAD, SUMMARY_HEAD, f"{COLUMNS}\n" + "\n".join(rows) + "\n"]
    if all_ratios:
        out.append(verdict(all_ratios))
    for part in parts:
        begin, end = marks(part)
        if sections[part] is not None:
            out.append(f"{begin}{sections[part]}{end}")
    return "\n".join(out)


def verdict(ratios):
    """What is won and what is lost, in words; within two percent it is the same."""
    less = [one for one in ratios if one.ratio < 0.98]
    more = sorted((one for one in ratios if one.ratio > 1.02), key=lambda one: -one.ratio)
    text = f"Of {len(ratios)} lines Tidegate needs less in {len(less)}, as much in {len(ratios) - len(less) - len(more)} and "
    text += f"more in {len(more)}; the median ratio is {statistics.median(one.ratio for one in ratios):.2f}.\n"
    if more:
        text += "\nWhere it needs more:\n\n"
        text += "".join(f"- {one.what}: {one.ratio:.2f} of {one.beside}\n" for one in more)
    return text


def figure(value):
    """Three digits, thousands grouped."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3g}"
