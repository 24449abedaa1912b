"""The JSON of all figures: one machine, and a section for each program that measures.

    {"machine": {...}, "workloads": {"W1": {...}, ...}, "micro": ..., "startup": ..., ...,
     "devices": {"cuda": {"card": "NVIDIA H100", "left_out": {...}, "workloads": {...}}}}

A section carries the commit it was measured at. What is measured again replaces what is there;
the rest of the file stays, so that a long run can be done in parts.
"""

import json
import os
import platform
import subprocess
import time
from pathlib import Path

import systems  # finds ebmlib  # noqa: F401

HERE = Path(__file__).resolve().parent


def processor():
    """The name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def isa():
    """The instruction set in use."""
    from ebmlib import _core

    return _core.isa()


def machine():
    """What figures are measured on; figures of two machines do not go into one file."""
    return {
        "processor": processor(),
        "processors": len(os.sched_getaffinity(0)),
        "isa": isa(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def stamp():
    """When and of which sources something is measured."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=HERE,
        text=True,
        capture_output=True,
    ).stdout.strip()
    return {"commit": commit, "date": time.strftime("%Y-%m-%d")}


def arguments(parser):
    """What each program that measures takes."""
    parser.add_argument("--json", help="all figures, for report.py and compare.py")
    parser.add_argument("--merge", action="store_true", help="keep what is in the JSON")


def load(path):
    return json.loads(Path(path).read_text())


def begin(path, merge):
    """The record to go on with: the file's if it is to be merged with, or an empty one."""
    record = {"machine": machine()}
    if path and merge and Path(path).exists():
        old = load(path)
        if old["machine"] != record["machine"]:
            raise SystemExit(f"{path} is of another machine: {old['machine']}")
        record = old
    return record


def on_device(record, device, card):
    """The record's section of a device; figures of two cards do not go into one file either."""
    section = record.setdefault("devices", {}).setdefault(device, {"card": card})
    if section["card"] != card:
        raise SystemExit(f"its figures on {device} are of another card: {section['card']}")
    return section


def save(path, record):
    """Whole or not at all: a run may be stopped at any time."""
    if path:
        part = Path(f"{path}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(record, indent=1) + "\n")
        part.replace(path)
