"""One toy run of the placement `post`, against the same student trained with PyTorch. Both on one thread.

    cargo build --release && python3 benches/toy_run.py target/release/afterthought [--rounds 5]

The peer is a PyTorch script that trains the same architecture (one layer, width 64, four heads, tied embeddings) on the
same kind of world for the same 800 steps of 32 examples, and answers the same 600 test questions. It is not part of
this project: give its folder with --peer (it lies in ../shared/reference of the machine that this was written on). The
two take turns, and each is timed as a whole process, from its start to its end, with the model's training time as the
peer prints it beside that. afterthought evaluates 120 validation questions after each of its 27 epochs as well, writes a
journal line for each step and four checkpoints; the peer does none of these.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HYPERPARAMETERS = {"loss": "tok", "w": 0.3, "drop": 0.1, "lr": 0.01, "L": 1, "steps": 800, "wd": 1.0}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}


def timed(command, folder):
    """Seconds of a whole process, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return seconds, done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--peer", type=pathlib.Path, default=pathlib.Path("../shared/reference"))
    parser.add_argument("--python", default=sys.executable, help="a Python with torch")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    script = options.peer.resolve() / "toystudent.py"
    if not script.exists():
        sys.exit(f"skipped: {script} is not here, and there is nothing to compare with")
    program = options.program.resolve()
    peer = [options.python, script, "--conds", "post", "--seeds", "0", "--hp", json.dumps(HYPERPARAMETERS)]
    ours, theirs, theirs_training = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(options.rounds):
            train = ["train", "--set", "rationale.placement=post", "--set", "evaluation.final=test", "--json"]
            seconds, _ = timed([program, "-C", folder, *train], folder)
            ours.append(seconds)
            seconds, printed = timed(peer, script.parent)
            theirs.append(seconds)
            theirs_training.append(float(re.search(r"wall ([0-9.]+)s", printed)[1]))
            print(f"round {round_ + 1}: afterthought {ours[-1]:.2f} s, PyTorch {theirs[-1]:.2f} s "
                  f"(training alone {theirs_training[-1]:.1f} s)", flush=True)
    us, them, training = map(statistics.median, (ours, theirs, theirs_training))
    print(f"medians of {options.rounds}: afterthought {us:.2f} s, PyTorch {them:.2f} s, its training alone {training:.2f} s")
    print(f"ratio {us / them:.2f} of the whole process, {us / training:.2f} of the peer's training alone")


if __name__ == "__main__":
    main()
