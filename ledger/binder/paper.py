"""Pages of the report: headings, paragraphs, tables that never run off the page, one line chart.

fpdf2 draws them: small, pure Python, well kept, and equal bytes for equal input once the date is
given. Its built-in fonts know Latin-1; the exact text of everything is in the other files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from fpdf import FPDF
from typing_extensions import override

MARGIN_MM = 18.0
BOTTOM_MM = 20.0
_LABEL_MM = 3.5
"""Height of a number beside the chart."""
_GAP_MM = 2.0
"""Between two columns."""
Color = tuple[int, int, int]
INK: Color = (28, 33, 40)
SOFT: Color = (104, 112, 122)
ACCENT: Color = (0, 96, 108)
BAD: Color = (176, 32, 38)
RULE: Color = (196, 202, 208)
STRIPE: Color = (244, 246, 248)
_SPELLED = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "…": "...",
     "→": "->", "≤": "<=", "≥": ">=", "€": "EUR"}
)  # fmt: skip
"""What people write beyond Latin-1, in Latin-1."""


def latin(text: str) -> str:
    """Return ``text`` as the fonts can show it: Latin-1, one line, nothing that steers."""
    shown = text.translate(_SPELLED).encode("latin-1", "replace").decode("latin-1")
    return "".join(char if char.isprintable() or char == "\xa0" else " " for char in shown)


class Column(NamedTuple):
    """One column of a table."""

    title: str
    share: float
    """Of the width, against the other columns."""
    is_number: bool = False


class Paper(FPDF):
    """An A4 document with running head and page numbers."""

    def __init__(self, title: str, head: str, foot: str, made: datetime) -> None:
        super().__init__(format="A4")
        self._head, self._foot = latin(head), latin(foot)
        self.set_title(latin(title))
        self.set_creation_date(made)
        self.set_margins(MARGIN_MM, MARGIN_MM)
        self.set_auto_page_break(True, BOTTOM_MM)
        self.set_lang("en")
        self.alias_nb_pages()

    @override
    def header(self) -> None:
        if self.page_no() == 1:
            return
        self._font(8, color=SOFT)
        self.set_y(9)
        self.cell(self.epw / 2, 4, "Tapewright evidence binder")
        self.cell(self.epw / 2, 4, self._head, align="R")
        self.set_draw_color(*RULE)
        self.line(MARGIN_MM, 14, self.w - MARGIN_MM, 14)
        self.set_y(MARGIN_MM + 1)

    @override
    def footer(self) -> None:
        self.set_y(-13)
        self._font(8, color=SOFT)
        self.cell(self.epw * 0.75, 4, self._foot)
        # From the left: the number of pages is put in later, so its width is not known here.
        self.set_x(self.w - MARGIN_MM - self.get_string_width("page 888 of 888"))
        self.cell(0, 4, f"page {self.page_no()} of {{nb}}")

    def _font(self, size: float, *, is_bold: bool = False, is_fixed: bool = False,
              color: Color = INK) -> None:  # fmt: skip
        self.set_font("Courier" if is_fixed else "Helvetica", "B" if is_bold else "", size)
        self.set_text_color(*color)

    def _room(self, height: float) -> None:
        """Go to a new page unless ``height`` mm are left."""
        if self.get_y() + height > self.h - BOTTOM_MM:
            self.add_page()

    # --- words

    def headline(self, text: str, below: str) -> None:
        """Write the title of the document."""
        self._font(26, is_bold=True, color=ACCENT)
        self.cell(0, 12, latin(text), new_x="LMARGIN", new_y="NEXT")
        self._font(12, color=SOFT)
        self.cell(0, 7, latin(below), new_x="LMARGIN", new_y="NEXT")
        self.set_draw_color(*ACCENT)
        self.set_line_width(0.6)
        self.line(MARGIN_MM, self.get_y() + 2, self.w - MARGIN_MM, self.get_y() + 2)
        self.set_line_width(0.2)
        self.ln(7)

    def chapter(self, text: str) -> None:
        """Begin a chapter, in the outline too, with room for a few lines of it."""
        if self.page_no() == 1:
            self.add_page()  # the cover stands alone
        self._room(45)
        if self.get_y() > MARGIN_MM + 2:
            self.ln(5)
        self.start_section(latin(text))
        self._font(15, is_bold=True, color=ACCENT)
        self.cell(0, 8, latin(text), new_x="LMARGIN", new_y="NEXT")
        self.ln(1.5)

    def heading(self, text: str) -> None:
        """Begin a part of a chapter."""
        self._room(25)
        self.ln(2)
        self._font(10.5, is_bold=True)
        self.cell(0, 6, latin(text), new_x="LMARGIN", new_y="NEXT")
        self.ln(0.5)

    def words(self, text: str, *, color: Color = INK, size: float = 9.5) -> None:
        """Write a paragraph."""
        self._font(size, color=color)
        height = size * 0.48
        for line in self.wrap(text, self.epw):
            self._room(height)
            self.cell(0, height, line, new_x="LMARGIN", new_y="NEXT")
        self.ln(1.6)

    def points(self, texts: Iterable[str]) -> None:
        """Write a list."""
        for text in texts:
            self._font(9.5)
            lines = self.wrap(text, self.epw - 5)
            self._room(4.6 * min(len(lines), 3))
            for number, line in enumerate(lines):
                self._room(4.6)
                self.cell(5, 4.6, "" if number else "-")
                self.cell(0, 4.6, line, new_x="LMARGIN", new_y="NEXT")
            self.ln(0.8)
        self.ln(1)

    def verdict(self, text: str, below: str, *, is_good: bool) -> None:
        """Write the verdict in a box."""
        color = ACCENT if is_good else BAD
        self.set_fill_color(*color)
        self.set_font("Helvetica", "B", 14)
        self.set_text_color(255, 255, 255)
        self.cell(0, 11, "  " + latin(text), fill=True, new_x="LMARGIN", new_y="NEXT")
        self.set_draw_color(*color)
        self._font(9.5)
        lines = self.wrap(below, self.epw - 8)
        top, height = self.get_y(), 4.8 * len(lines) + 4
        self.rect(MARGIN_MM, top, self.epw, height)
        self.set_y(top + 2)
        for line in lines:
            self.set_x(MARGIN_MM + 4)
            self.cell(0, 4.8, line, new_x="LMARGIN", new_y="NEXT")
        self.set_y(top + height + 5)

    def facts(self, rows: Iterable[tuple[str, str]], *, label_mm: float = 42) -> None:
        """Write names and values below each other; digests in a fixed font, wrapped."""
        for name, value in rows:
            is_digest = len(value) >= 32 and " " not in value
            self._font(9, is_fixed=is_digest)
            lines = self.wrap(value, self.epw - label_mm) or [""]
            self._room(4.8 * len(lines))
            for number, line in enumerate(lines):
                self._font(9, color=SOFT)
                self.cell(label_mm, 4.8, "" if number else latin(name))
                self._font(9, is_fixed=is_digest)
                self.cell(0, 4.8, line, new_x="LMARGIN", new_y="NEXT")
        self.ln(2)

    # --- tables

    def grid(self, columns: Sequence[Column], rows: Iterable[Sequence[str]],
              *, width: float = 1.0) -> None:  # fmt: skip
        """Write a table; its head comes again on every page, and long cells are wrapped.

        ``width``: share of the page. A row longer than the columns has a note, written below it
        over the whole width.
        """
        total = sum(column.share for column in columns)
        widths = [self.epw * width * column.share / total for column in columns]
        self._head_row(columns, widths)
        for number, row in enumerate(rows):
            self._font(8)
            cells = [
                self.wrap(text, each - _GAP_MM) or [""]
                for text, each in zip(row, widths, strict=False)
            ]
            self._font(7.5)
            note = self.wrap(row[len(columns)], self.epw - 4) if len(row) > len(columns) else []
            height = 4.0 * max(map(len, cells)) + 3.6 * len(note) + 1.2
            if self.get_y() + height > self.h - BOTTOM_MM:
                self.add_page()
                self._head_row(columns, widths)
            self._row(columns, widths, cells, note, height, is_striped=number % 2 == 1)
        self.ln(3)

    def _head_row(self, columns: Sequence[Column], widths: Sequence[float]) -> None:
        self._font(8, is_bold=True, color=ACCENT)
        titles = [
            self.wrap(each.title, width - _GAP_MM)
            for each, width in zip(columns, widths, strict=True)
        ]
        height = 4.0 * max(map(len, titles)) + 1.5
        self._room(height + 12)
        self._font(8, is_bold=True, color=ACCENT)
        top = self.get_y()
        self._cells(columns, widths, titles, top)
        self.set_draw_color(*ACCENT)
        self.line(MARGIN_MM, top + height, MARGIN_MM + sum(widths), top + height)
        self.set_y(top + height + 0.6)

    def _row(self, columns: Sequence[Column], widths: Sequence[float], cells: list[list[str]],
             note: list[str], height: float, *, is_striped: bool) -> None:  # fmt: skip
        top = self.get_y()
        if is_striped:
            self.set_fill_color(*STRIPE)
            self.rect(MARGIN_MM, top, sum(widths), height, style="F")
        self._font(8)
        self._cells(columns, widths, cells, top + 0.6)
        if note:
            self._font(7.5, color=SOFT)
            self.set_y(top + 0.6 + 4.0 * max(map(len, cells)))
            for line in note:
                self.set_x(MARGIN_MM + 2)
                self.cell(0, 3.6, line, new_x="LMARGIN", new_y="NEXT")
        self.set_y(top + height)

    def _cells(self, columns: Sequence[Column], widths: Sequence[float], cells: list[list[str]],
               top: float) -> None:  # fmt: skip
        left = MARGIN_MM
        for column, width, lines in zip(columns, widths, cells, strict=True):
            for number, line in enumerate(lines):
                self.set_xy(left, top + 4.0 * number)
                self.cell(width - _GAP_MM, 4.0, line, align="R" if column.is_number else "L")
            left += width

    def wrap(self, text: str, width: float) -> list[str]:
        """Return ``text`` as lines no wider than ``width`` mm in the present font.

        A word that is wider is cut: a digest goes on in the next line, never off the page.
        """
        lines: list[str] = []
        line, room = "", width - 2 * self.c_margin
        for word in latin(text).split():
            longer = f"{line} {word}" if line else word
            if self.get_string_width(longer) <= room:
                line = longer
                continue
            if line:
                lines.append(line)
            line = word
            while self.get_string_width(line) > room:
                fits = self._fitting(line, room)
                lines.append(line[:fits])
                line = line[fits:]
        return [*lines, line] if line else lines

    def _fitting(self, word: str, room: float) -> int:
        """Return how many of the first characters fit; one at least."""
        fits = 1
        while fits < len(word) and self.get_string_width(word[: fits + 1]) <= room:
            fits += 1
        return fits

    # --- one chart

    def chart(self, values: Sequence[float], *, below: str) -> None:
        """Draw a line through ``values``, evenly spaced, with zero and the extremes marked."""
        height, left = 42.0, MARGIN_MM + 20
        self._room(height + 12)
        top, width = self.get_y() + 2, self.w - MARGIN_MM - left
        low, high = min(0.0, *values), max(0.0, *values)
        span = high - low or 1.0

        def place(value: float) -> float:
            return top + height * (high - value) / span

        self._font(7.5, color=SOFT)
        for mark in sorted({low, 0.0, high}):
            self.set_draw_color(*RULE)
            self.line(left, place(mark), left + width, place(mark))
            if mark and abs(place(mark) - place(0.0)) < _LABEL_MM:
                continue  # two numbers over each other tell nothing
            self.set_xy(MARGIN_MM, place(mark) - 2)
            self.cell(19, 4, f"{mark:,.2f}", align="R")
        step = width / max(len(values) - 1, 1)
        self.set_draw_color(*ACCENT)
        self.set_line_width(0.4)
        self.polyline([(left + step * n, place(value)) for n, value in enumerate(values)])
        self.set_line_width(0.2)
        self.set_xy(left, top + height + 1.5)
        self._font(7.5, color=SOFT)
        self.cell(0, 4, latin(below), new_x="LMARGIN", new_y="NEXT")
        self.ln(3)
