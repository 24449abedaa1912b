"""The eight workloads against PyTorch, torch.compile, JAX and others: checked, then timed.

    python benchmarks/run.py                                 all that is installed, but compile
    python benchmarks/run.py --systems all                   torch.compile too: minutes more
    python benchmarks/run.py --workloads W1,W5 --systems torch,jax,jax@1 --repeat 9
    python benchmarks/run.py --json new.json --markdown new.md
    python benchmarks/run.py --workloads W5 --json new.json --merge   measures W5 anew
    python benchmarks/run.py --device cuda --json new.json --merge    the same on a card

Each form of ours gets the same weights and the same random numbers as PyTorch for one unit of
work, and must hand back the same results and gradients, before anything is timed. systems.py
says who takes part, checking.py how they are compared, measuring.py how they are timed,
report.py what the tables mean. With --json the figures are written after each workload, so that
a run can be stopped, and gone on with by --workloads and --merge.
"""

import argparse
import sys
from pathlib import Path

import record
import report
import systems
from checking import TOLERANCE, check
from measuring import measure, why_not


def agrees(workload, reference, forms):
    """{form: (distance, array)} of those of our forms that have the workload; None if wrong."""
    found, good = {}, True
    for form in forms:
        if systems.ours(workload, form) is None:
            continue
        gap, name = found[form] = check(workload, reference, form)
        right = gap < TOLERANCE[workload]
        word = "agrees with" if right else "DIFFERS from"
        print(
            f"{workload} {systems.label(form)} {word} {reference}: {gap:.1e} ({name})",
            flush=True,
        )
        good = good and right
    return found if good else None


def choose(text):
    """The opponents, and forms of ours, that were asked for and are installed."""
    on_cpu = systems.device() == "cpu"
    usual = systems.USUAL if on_cpu else systems.USUAL_THERE
    everyone = systems.ALL if on_cpu else systems.ALL_THERE
    named = {"usual": usual, "all": everyone}.get(text, text)
    wanted = [system for system in named.split(",") if system]
    unknown = {systems.name_of(s) for s in wanted} - {*systems.OURS, *systems.OPPONENTS}
    if unknown:
        raise SystemExit(f"--systems: unknown: {', '.join(sorted(unknown))}")
    have = [system for system in wanted if systems.installed(system)]
    missing = [system for system in wanted if system not in have]
    if missing:
        print(f"not installed, left out: {', '.join(missing)}")
    return [system for system in have if system != "ebmlib"]


def card():
    """The name of the device's hardware; the program ends if there is none to use."""
    try:
        from ebmlib import _core
    except RuntimeError as error:  # EBMLIB_DEVICE names one that cannot be used
        raise SystemExit(f"--device {systems.device()}: {error}") from None
    return _core.device_model(None)


def able(wanted):
    """Those of the systems that can use the device, and {name: why not} of the others."""
    reasons = {system: why_not(system) for system in wanted}
    left_out = {system: reason for system, reason in reasons.items() if reason}
    for system, reason in left_out.items():
        print(f"{systems.label(system)} is not timed on {systems.device()}: {reason}")
    return [system for system in wanted if system not in left_out], left_out


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", default=",".join(report.GOALS))
    parser.add_argument("--systems", default="usual", help="'usual', 'all' or names, comma")
    parser.add_argument("--repeat", type=int, default=5, help="timed calls of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--device", default=systems.device(), choices=("cpu", "cuda", "cuda-host")
    )
    record.arguments(parser)
    parser.add_argument("--markdown", help="the tables, with the machine")
    return parser.parse_args()


def main():
    args = parse()
    systems.set_device(args.device)
    others, left_out, name = choose(args.systems), {}, card()
    reference = "torch" if systems.installed("torch") else None
    forms = ["ebmlib", *(["sampler"] if "sampler" in others else [])]
    kept, wrong = record.begin(args.json, args.merge), []
    section = kept
    if args.device == "cuda":
        others, left_out = able(others)
        section = record.on_device(kept, args.device, name)
        section["left_out"] = left_out
    parts = section.setdefault("workloads", {})
    for workload in args.workloads.split(","):
        gaps = agrees(workload, reference, forms) if reference else {}
        if gaps is None:
            wrong.append(workload)
        if gaps is None or args.device == "cuda-host":
            continue
        rows, peaks = measure(["ebmlib", *others], workload, args.threads, args.repeat)
        parts[workload] = {
            **record.stamp(),
            "threads": args.threads,
            "peaks": peaks,
            "reference": reference,
            "check": gaps,
            "rows": rows,
        }
        part = parts[workload]
        on_cpu = args.device == "cpu"
        print(
            report.workload_table(workload, part)
            if on_cpu
            else report.device_table({workload: part}),
            flush=True,
        )
        record.save(args.json, kept)
    if args.device == "cuda-host":
        print(f"nothing is timed on cuda-host: it is {name}")
    elif parts and args.device == "cpu":
        print(report.summary_table(kept))
    if args.markdown:
        Path(args.markdown).write_text(report.markdown(kept))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
