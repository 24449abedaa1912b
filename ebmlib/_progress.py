"""Progress of a fit: a tqdm bar where tqdm is installed, plain lines where it is not."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Progress"]

_SECONDS = {1: 1.0, 2: 0.2}  # between two updates, by verbosity; 0 says nothing
_LINES = 10  # plain lines stay on the screen, so they come that much less often


class Progress:
    """Shows the numbers that matter, now and then.

    shown: names of the metrics to show.
    """

    def __init__(self, title: str, total: int, shown: Sequence[str], verbose: int) -> None:
        self._title, self._total, self._shown = title, total, shown
        self._every = _SECONDS[min(int(verbose), 2)] if verbose else math.inf
        self._done, self._last = 0, time.monotonic()
        self._bar = _make_bar(title, total) if verbose else None
        if self._bar is None:
            self._every *= _LINES

    def update(self, done: int, metrics: Mapping[str, Any]) -> None:
        """metrics: {name: value at the last step}."""
        if self._every == math.inf:
            return
        now = time.monotonic()
        if done == self._done or (done < self._total and now - self._last < self._every):
            return
        self._done, self._last = done, now
        shown = [name for name in self._shown if name in metrics]
        text = "  ".join(f"{name} {metrics[name]:.4g}" for name in shown)
        if self._bar is None:
            print(
                f"{self._title}: step {done}/{self._total}  {text}", file=sys.stderr, flush=True
            )
            return
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _make_bar(title: str, total: int) -> Any:
    try:
        from tqdm import tqdm  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return None
    return tqdm(total=total, desc=title, leave=True)
