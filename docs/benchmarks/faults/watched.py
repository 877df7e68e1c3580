"""A command whose lines say what it is doing."""

import re
import subprocess
import threading
import time

from faults.bench import PATIENCE, Ran


class Watched:
    """A process of `Bench.start` whose lines are read while it runs."""

    def __init__(self, process: subprocess.Popen):
        self.process = process
        self._lines: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._changed:
                self._lines.append((time.monotonic(), line))
                self._changed.notify_all()

    def wait_for(self, pattern: str, passed_over: int) -> None:
        """Returns after so many and one more lines that begin so, or when no more will come."""

        def has_come():
            found = sum(bool(re.match(pattern, line)) for _, line in self._lines)
            return found > passed_over or not self._reader.is_alive()

        with self._changed:
            while not has_come():
                self._changed.wait(0.1)

    @property
    def last_line(self) -> str:
        return self._lines[-1][1].strip() if self._lines else ""

    def seconds_between(self, begin: str, end: str) -> list[float]:
        """The time from each line that begins so to the next one that begins as `end` says."""
        return [
            next(then for then, later in self._lines[i + 1 :] if re.match(end, later)) - moment
            for i, (moment, line) in enumerate(self._lines)
            if re.match(begin, line)
        ]

    def finish(self) -> Ran:
        """Waits for its end."""
        try:
            status = self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            status = None
            self.process.kill()
        self._reader.join()
        return Ran(status, "".join(line for _, line in self._lines))
