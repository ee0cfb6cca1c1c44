"""A long toy run, and the memory that it holds over time: it must not grow.

    cargo build --release && python3 benches/soak.py target/release/afterthought [--steps 50000]

The run writes a checkpoint every 500 steps and evaluates as often. Prints the resident memory of the process and its peak
every few seconds, and at the end the largest value of the last half against that of the first half without its first
tenth, in which everything is loaded. Linux only: it reads /proc. It ends with 1 where memory grew by more than --allowed.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time


def memory(process):
    """Resident memory and its peak, in MiB."""
    try:
        lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return tuple(int(values[name]) / 1024 for name in ("VmRSS", "VmHWM")) if len(values) == 2 else None


def last_step(journal, offset, step):
    """The last step that the journal has, read on from `offset`."""
    if not journal.exists():
        return offset, step
    with journal.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                break
            offset += len(line)
            if b'"event":"step"' in line:
                step = json.loads(line)["step"]
    return offset, step


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--every", type=float, default=5, help="seconds between two looks")
    parser.add_argument("--allowed", type=float, default=5, help="growth in MiB that is let pass")
    options = parser.parse_args()
    seen = []
    with tempfile.TemporaryDirectory() as folder:
        settings = [f"training.steps={options.steps}", "training.checkpoint={every: 500, keep: {last: 2, best: 1}}",
                    "evaluation.every=500"]
        command = [options.program.resolve(), "-C", folder, "train", "--name", "soak"]
        command += [part for setting in settings for part in ("--set", setting)]
        begun = time.perf_counter()
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        offset = step = 0
        print(" seconds    step  resident   peak (MiB)", flush=True)
        while run.poll() is None:
            time.sleep(options.every)
            now = memory(run.pid)
            journals = list(pathlib.Path(folder).glob("runs/*/journal.jsonl"))
            if now and journals:
                offset, step = last_step(journals[0], offset, step)
                seen.append((step, now[0]))
                print(f"{time.perf_counter() - begun:8.0f} {step:7d} {now[0]:9.1f} {now[1]:6.1f}", flush=True)
        if run.returncode != 0:
            sys.exit(f"the run failed:\n{run.stderr.read()}")
    first = [size for step, size in seen if options.steps * 0.1 <= step < options.steps * 0.5]
    second = [size for step, size in seen if step >= options.steps * 0.5]
    if not first or not second:
        sys.exit("too few looks to compare; take more steps, or a smaller --every")
    growth = max(second) - max(first)
    print(f"largest in the first half {max(first):.1f} MiB, in the second {max(second):.1f} MiB: {growth:+.1f}")
    sys.exit(growth > options.allowed)


if __name__ == "__main__":
    main()
