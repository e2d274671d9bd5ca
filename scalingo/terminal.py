"""Reads a log as a terminal shows it at last: without colours, overwritten progress bars and erased lines. Pure."""

import re

from operations.text import plain

# What moves the cursor or erases. In ECMA-48's words: CUU to CHA, ED and EL.
_CONTROL = re.compile(r"\x1b\[([0-9]{0,4})([A-GJK])|[\r\n\b]")
_SPINNER = re.compile(r"\s*[\u2800-\u28ff]")
_COUNT = re.compile(r"[\u2800-\u28ff\d.]")


def lines_shown(text: str) -> list[str]:
    """Return the lines that a terminal shows at last. Of blank lines in a row, and of a spinner's frames, one stays."""
    screen, start = _Screen(), 0
    for found in _CONTROL.finditer(text):
        if start < found.start():
            screen.write(plain(text[start : found.start()]))
        start, control = found.end(), found[2] or found[0]
        if control in "JK":
            screen.erase(control, found[1])
        else:
            screen.move(control, max(int(found[1] or 1), 1))
    screen.write(plain(text[start:]))
    lines = [line.rstrip() for line in "\n".join(screen.rows).split("\n")]  # plain may have ended lines
    kept = [line for line, after in zip(lines, [*lines[1:], ""], strict=True) if not _is_repeated(line, after)]
    return kept[1:] if kept and not kept[0] else kept


class _Screen:
    """A terminal of any size. The cursor only moves over what was written, so moves alone never make it grow."""

    def __init__(self) -> None:
        self.rows = [""]
        self._row = self._column = 0

    def write(self, text: str) -> None:
        """Write over what stands at the cursor."""
        row = self.rows[self._row].ljust(self._column)
        self.rows[self._row] = row[: self._column] + text + row[self._column + len(text) :]
        self._column += len(text)

    def move(self, control: str, times: int) -> None:
        """Obey CR, LF, BS, or a control sequence that ends with this letter."""
        if control == "\n" and self._row == len(self.rows) - 1:
            self.rows.append("")
        down = {"A": -times, "F": -times, "B": times, "E": times, "\n": 1}.get(control, 0)
        self._row = min(max(self._row + down, 0), len(self.rows) - 1)
        right = {"C": times, "D": -times, "\b": -1}.get(control, 0)
        column = {"G": times - 1, "E": 0, "F": 0, "\r": 0, "\n": 0}.get(control, self._column + right)
        self._column = min(max(column, 0), len(self.rows[self._row]))

    def erase(self, control: str, mode: str) -> None:
        """Erase in the line (K) or below the cursor (J). A cleared screen stays: the cause may stand there."""
        row = self.rows[self._row]
        if mode in ("", "0"):
            self.rows[self._row] = row[: self._column]
            del self.rows[self._row + 1 if control == "J" else len(self.rows) :]
        elif control == "K":
            self.rows[self._row] = row[self._column :].rjust(len(row)) if mode == "1" else ""


def _is_repeated(line: str, after: str) -> bool:
    """Tell whether the line after it stands for this one too: both are blank, or frames of one spinner."""
    if not line or not _SPINNER.match(line):
        return line == after == ""
    return _COUNT.sub("", line) == _COUNT.sub("", after)
