"""What changed between two runs of run.py, beyond noise.

    python benchmarks/compare.py old.json new.json

The speed of the machine is taken out by the opponents: what is compared is our time as a
share of theirs, where both runs have the same opponents, else our time alone. A change counts
if it is larger than the spread of the calls (half the distance of their quartiles, of both
runs together) and than five percent. Exits with 1 if something became slower.
"""

import json
import statistics
import sys
from pathlib import Path


def load(path):
    rows = json.loads(Path(path).read_text())["rows"]
    return {(row["workload"], row["system"]): row for row in rows}


def spread(seconds):
    """Half the distance of the quartiles, as a share of the median."""
    if len(seconds) < 4:
        return (max(seconds) - min(seconds)) / 2 / statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4)
    return (high - low) / 2 / statistics.median(seconds)


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    old, new = load(sys.argv[1]), load(sys.argv[2])
    slower = False
    for key in sorted(old.keys() & new.keys()):
        workload, system = key
        if system != "ebmlib":
            continue
        others = [k for k in old.keys() & new.keys() if k[0] == workload and k[1] != "ebmlib"]
        drift = [new[k]["median"] / old[k]["median"] for k in others]
        machine = statistics.median(drift) if drift else 1.0
        change = new[key]["median"] / old[key]["median"] / machine
        noise = max(0.05, spread(old[key]["seconds"]) + spread(new[key]["seconds"]))
        word = (
            "slower" if change > 1 + noise else "faster" if change < 1 / (1 + noise) else "same"
        )
        slower |= word == "slower"
        print(
            f"{workload}  {old[key]['median']:.4g} s -> {new[key]['median']:.4g} s, "
            f"the machine {machine:.2f}: {change:.2f} (noise {noise:.2f})  {word}"
        )
    return slower


if __name__ == "__main__":
    sys.exit(main())
