"""What changed between two runs of run.py, beyond noise.

    python benchmarks/compare.py old.json new.json

The speed of the machine is taken out by the opponents: what is compared is our time as a
share of theirs, where both runs have the same opponents, else our time alone. A change counts
if it is larger than the spread of the calls (half the distance of their quartiles, of both
runs together) and than five percent. Exits with 1 if something became slower.
"""

import statistics
import sys
from typing import NamedTuple

import record
from report import median
from systems import is_ours, label


class Change(NamedTuple):
    """One of our rows in both runs."""

    workload: str
    system: str
    old: float  # seconds
    new: float
    machine: float  # how many times longer the opponents took
    noise: float

    @property
    def factor(self):
        """How many times longer ours takes, without the machine's share."""
        return self.new / self.old / self.machine

    @property
    def word(self):
        if self.factor > 1 + self.noise:
            return "slower"
        return "faster" if self.factor < 1 / (1 + self.noise) else "same"

    def __str__(self):
        return (
            f"{self.workload}  {label(self.system):14}  {self.old:.4g} s -> {self.new:.4g} s, "
            f"the machine {self.machine:.2f}: {self.factor:.2f} (noise {self.noise:.2f})  "
            f"{self.word}"
        )


def rows(kept):
    """{(workload, system): row}; on a device the workload is called "W1 cuda"."""
    parts = dict(kept.get("workloads", {}))
    for device, section in kept.get("devices", {}).items():
        parts |= {f"{name} {device}": part for name, part in section["workloads"].items()}
    return {(name, row["system"]): row for name, part in parts.items() for row in part["rows"]}


def spread(seconds):
    """Half the distance of the quartiles, as a share of the median."""
    if len(seconds) < 4:
        return (max(seconds) - min(seconds)) / 2 / statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4)
    return (high - low) / 2 / statistics.median(seconds)


def changes(old, new):
    """A Change for each of our rows that both records have."""
    before, after = rows(old), rows(new)
    both = sorted(before.keys() & after.keys())
    for workload, system in both:
        if not is_ours(system):
            continue
        key = workload, system
        drift = [
            median(after[other]) / median(before[other])
            for other in both
            if other[0] == workload and not is_ours(other[1])
        ]
        noise = spread(before[key]["seconds"]) + spread(after[key]["seconds"])
        yield Change(
            *key,
            median(before[key]),
            median(after[key]),
            statistics.median(drift) if drift else 1.0,
            max(0.05, noise),
        )


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    old, new = (record.load(path) for path in sys.argv[1:])
    if old["machine"] != new["machine"]:
        print("two machines, or two versions of their software:")
        for name in sorted(old["machine"].keys() | new["machine"].keys()):
            pair = [kept["machine"].get(name) for kept in (old, new)]
            if pair[0] != pair[1]:
                print(f"  {name}: {pair[0]} -> {pair[1]}")
    found = list(changes(old, new))
    print("\n".join(map(str, found)) or "nothing of ours is in both")
    return any(change.word == "slower" for change in found)


if __name__ == "__main__":
    sys.exit(main())
