"""Where the time goes: `profile`."""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple

from . import _core

__all__ = ["Profile", "ProfileRow", "profile"]


class ProfileRow(NamedTuple):
    """What one group of kernels has cost; flops and bytes are of all calls together."""

    name: str
    calls: int
    seconds: float
    flops: float
    bytes: float


class Profile:
    """What the kernels of all plans cost while it was on; made by `ebmlib.profile`.

    Printed, it is a table.  FLOPs are counted from shapes (a multiply-add is two, padding
    counts), and so are bytes (each element of an operand once; caches may have it, so that
    more than all of the memory's speed is no contradiction).

    >>> import numpy as np, ebmlib as ebm
    >>> with ebm.profile() as profile:
    ...     y = ebm.jit(lambda x: np.exp(x @ x))(np.eye(3))
    >>> sorted(row.name for row in profile.rows("op"))
    ['matmul', 'region']
    """

    def __init__(self) -> None:
        self._core = _core.Profile()
        self._peak: tuple[float, float] | None = None

    def __enter__(self) -> Profile:
        self._core.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._core.stop()

    def rows(self, by: str = "kernel") -> list[ProfileRow]:
        """The costs, the largest first.

        Parameters
        ----------
        by : {"kernel", "op", "plan"}
            What makes a row: kernels that do the same on the same shapes, an op, a plan.
        """
        if by not in ("kernel", "op", "plan"):
            raise ValueError(f"rows: by: got {by!r}, expected kernel, op or plan")
        sums: dict[str, list[float]] = {}
        for plan, _, op, text, calls, seconds, flops, moved in self._core.rows():
            names = {"kernel": f"{op} {text}", "op": op, "plan": f"plan {plan}"}
            row = sums.setdefault(names[by], [0, 0.0, 0.0, 0.0])
            for k, value in enumerate((calls, seconds, calls * flops, calls * moved)):
                row[k] += value
        rows = [ProfileRow(name, int(n), *rest) for name, (n, *rest) in sums.items()]
        return sorted(rows, key=lambda row: -row.seconds)

    @property
    def seconds(self) -> float:
        """The time of all kernels together."""
        return sum(row.seconds for row in self.rows("op"))

    @property
    def peak(self) -> tuple[float, float]:
        """(FLOP/s in float32, bytes/s) that this machine reaches; measured at the first use."""
        if self._peak is None:
            self._peak = self._core.peak()
        return self._peak

    def table(self, by: str = "kernel", limit: int = 20) -> str:
        """The first rows as text, with shares of the time and of the machine's peaks."""
        rows, total = self.rows(by), self.seconds
        flops, moved = self.peak
        lines = [f"{'seconds':>9} {'share':>6} {'calls':>8} {'flops':>6} {'bytes':>6}  {by}"]
        for row in rows[:limit]:
            spent = max(row.seconds, 1e-12)
            lines.append(
                f"{row.seconds:9.4f} {row.seconds / total:6.1%} {row.calls:8d} "
                f"{row.flops / spent / flops:6.0%} {row.bytes / spent / moved:6.0%}  {row.name}"
            )
        if len(rows) > limit:
            lines.append(f"... and {len(rows) - limit} more")
        lines.append(
            f"{total:9.4f} in kernels; peak {flops / 1e9:.0f} GFLOP/s, {moved / 1e9:.1f} GB/s"
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.table() if self.rows() else "<Profile: nothing ran>"


def profile() -> Profile:
    """Time the kernels of everything that runs inside a ``with``.

    It slows each kernel by some 50 ns, and code outside of it by nothing.  There is one at a
    time: a second one inside raises StateError.

    >>> import numpy as np, ebmlib as ebm
    >>> with ebm.profile() as profile:
    ...     y = ebm.jit(np.exp)(np.zeros(3))
    >>> profile.rows()[0].calls
    1
    """
    return Profile()
