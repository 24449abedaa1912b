"""The form of csrc and cuda: who may include whom, lengths of files and functions, lines.

    python tests/package/floors.py [root]     prints the report; exits with 1 on a violation

A folder is on a floor.  Its files include files of their own folder and of lower floors, by
their path from csrc.  Folders that stand on the same floor do not know each other.  cuda stands
where csrc/cpu does; its own headers are named without a path.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

FLOORS = (
    ("formulas",),
    ("base",),
    ("tensor",),
    ("graph",),
    ("ops", "plan"),
    ("cpu", "cuda", "program"),
    ("networks",),
    ("samplers",),
    ("estimators",),
    ("python",),
)
LEVEL = {folder: level for level, folders in enumerate(FLOORS) for folder in folders}
FILE_LINES = 800
FUNCTION_LINES = 80

INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+)"')


def sources(root: Path) -> list[Path]:
    """Every file below root/csrc and root/cuda."""
    files = [*(root / "csrc").rglob("*"), *(root / "cuda").rglob("*")]
    return sorted(path for path in files if path.is_file())


def wrong_include(folder: str, target: str, csrc: Path) -> str | None:
    """Why a file of `folder` may not include `target`; None if it may."""
    there = target.split("/")[0]
    if folder == "cuda" and (csrc.parent / "cuda" / target).is_file():
        return None
    if not (csrc / target).is_file():
        return f'no file "{target}": includes are written from csrc'
    if there not in LEVEL:
        return f"{there}/ stands on no floor"
    if there != folder and LEVEL[there] >= LEVEL[folder]:
        return f"{folder}/ may not include {target}: its floor is not lower"
    return None


def long_functions(lines: list[str]) -> Iterator[tuple[int, str, int]]:
    """Line, head and length of each function that is too long.

    A body is what stands between braces in the first column, as the form of the house has it.
    """
    start = 0
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start:
            if number - start - 1 > FUNCTION_LINES:
                yield start, lines[start - 2].strip(), number - start - 1
            start = 0


def check_file(path: Path, root: Path) -> Iterator[str]:
    """The violations of one file, as `path:line: what`."""
    name = path.relative_to(root).as_posix()
    parts = path.relative_to(root).parts
    folder = parts[1] if parts[0] == "csrc" else parts[0]
    if folder not in LEVEL:
        yield f"{name}:1: {folder}/ stands on no floor"
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) > FILE_LINES:
        yield f"{name}:{len(lines)}: {len(lines)} lines, at most {FILE_LINES}"
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line)
        reason = include and wrong_include(folder, include[1], root / "csrc")
        if reason:
            yield f"{name}:{number}: {reason}"
    for number, head, length in long_functions(lines):
        yield f"{name}:{number}: {head}: {length} lines, at most {FUNCTION_LINES}"


def check(root: Path) -> list[str]:
    """All violations below root/csrc and root/cuda."""
    return [message for path in sources(root) for message in check_file(path, root)]


def report(root: Path) -> str:
    """Files and lines of each folder of csrc, from the ground up, and of the other folders."""
    rows = []
    csrc = [f"csrc/{folder}" for folder in LEVEL if folder != "cuda"]
    for folder in (*csrc, "cuda", "ebmlib", "tests", "benchmarks", "experiments"):
        files = [
            path
            for path in (root / folder).rglob("*")
            if path.suffix in {".c", ".h", ".inc", ".def", ".cu", ".cc", ".py", ".pyi"}
        ]
        if files:
            lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
            rows.append((folder, len(files), lines))
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    return "\n".join(
        f"{name:16} {files:4} files {lines:7,} lines" for name, files, lines in rows
    )


def main() -> int:
    """Prints the report and the violations."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    violations = check(root)
    print(report(root))
    print("\n".join(violations) or "floors: nothing to report")
    return len(violations) > 0


if __name__ == "__main__":
    sys.exit(main())
