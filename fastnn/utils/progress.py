"""A progress bar that knows a terminal from a log file."""

import math
import os
import sys
import time

import numpy as np


def is_terminal(stream):
    """Whether `stream` shows one line redrawn in place, as a terminal does and a log file does not."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def format_value(value):
    """Four decimals, or scientific where they would hide the value."""
    try:
        value = float(value)
    except (TypeError, ValueError):
        return str(value)
    if value == 0.0 or not math.isfinite(value) or 1e-3 < abs(value) < 1e5:
        return f"{value:.4f}"
    return f"{value:.4e}"


def format_time(seconds):
    """ "250us", "3ms", "4.2s", "61s", "3:05", "1:02:03"."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 1:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 100:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def format_logs(logs):
    """ " - loss: 0.1234 - accuracy: 0.9876"."""
    return "".join(f" - {name}: {format_value(value)}" for name, value in logs.items())


class Progbar:
    """Shows how far a loop is and the values so far, as `keras.utils.Progbar`.

    On a terminal one line is redrawn, at most every `interval` seconds; elsewhere (a file, a pipe) one line is
    written at the end. verbose: 0 silent, 1 as said, 2 one line at the end always. Values given to `update` are
    averaged over steps unless named in `stateful_metrics`. `target` None means an unknown number of steps.
    """

    def __init__(self, target, width=20, verbose=1, interval=0.05, stateful_metrics=None, unit_name="step",
                 prefix="", stream=None):  # fmt: skip
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.stateful_metrics = set(stateful_metrics or ())
        self.unit_name = unit_name
        self.prefix = prefix
        self.stream = sys.stdout if stream is None else stream
        self.redraws = verbose == 1 and is_terminal(self.stream)
        self._sums = {}
        self._seen = 0
        self._start = time.perf_counter()
        self._last_draw = -math.inf
        self._finished = False

    def update(self, current, values=None, finalize=None):
        """`current` steps are done; `values` are (name, value) pairs or a dictionary of what to show."""
        steps = max(current - self._seen, 1)
        items = values.items() if isinstance(values, dict) else values or ()
        for name, value in items:
            if name in self.stateful_metrics:
                self._sums[name] = [value, None]
            else:
                total = self._sums.setdefault(name, [0.0, 0])
                total[0] += float(np.mean(value)) * steps
                total[1] += steps
        self._seen = current
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        if self._finished or not self.verbose:
            return
        now = time.perf_counter()
        if finalize:
            self._finished = True
            self._write(self._line(now - self._start, final=True), end="\n")
        elif self.redraws and now - self._last_draw >= self.interval:
            self._last_draw = now
            self._write(self._line(now - self._start, final=False), end="")

    def add(self, n, values=None):
        """`n` more steps are done."""
        self.update(self._seen + n, values)

    def _values(self):
        return {name: value if count is None else value / max(count, 1) for name, (value, count) in self._sums.items()}

    def _line(self, seconds, final):
        logs = format_logs(self._values())
        if final:
            per_step = f" ({format_time(seconds / self._seen)}/{self.unit_name})" if self._seen else ""
            return f"{self.prefix}{format_time(seconds)}{per_step}{logs}"
        if self.target is None:
            return f"{self.prefix}{self._seen} {self.unit_name}s {format_time(seconds)}{logs}"
        filled = int(self.width * min(self._seen / max(self.target, 1), 1.0))
        bar = "=" * filled + "." * (self.width - filled)
        left = seconds / self._seen * (self.target - self._seen) if self._seen else 0.0
        digits = len(str(self.target))
        return f"{self.prefix}{self._seen:{digits}d}/{self.target} [{bar}] {format_time(left)}{logs}"

    def _write(self, line, end):
        if self.redraws:
            import shutil  # slow to import, and only terminals need it

            columns = shutil.get_terminal_size().columns
            if not end:
                line = line[: columns - 1]  # a line that wraps could not be redrawn
            line = f"\r\x1b[K{line}"
        self.stream.write(line + end)
        self.stream.flush()
