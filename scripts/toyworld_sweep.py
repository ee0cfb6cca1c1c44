"""Chooses the toy student's settings on the validation split of worlds that no reported number uses.

    cargo build --release && python3 scripts/toyworld_sweep.py target/release/afterthought

Each setting is varied alone around the present ones, for every condition, `none` included, over the worlds of seeds 100
to 102. Prints accuracy on validation in per cent: the mean over worlds, and each world. Nothing here looks at a test
split.
"""

import concurrent.futures
import json
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
WORLDS = (100, 101, 102)
CONDITIONS = {
    "none": ("toyworld", "none"),
    "post": ("toyworld", "post"),
    "pre": ("toyworld", "pre"),
    "post, noisy": ("toyworld-noisy", "post"),
    "pre, noisy": ("toyworld-noisy", "pre"),
}
VARIANTS = [
    "",
    "training.steps=400",
    "training.steps=1600",
    "training.learning_rate=0.003",
    "training.learning_rate=0.02",
    "training.weight_decay=0.1",
    "training.weight_decay=0.3",
    "training.weight_decay=2.0",
    "training.dropout={embedding: 0.0, residual: 0.0, attention: 0.0}",
    "training.dropout={embedding: 0.2, residual: 0.2, attention: 0.0}",
    "training.loss.rationale=0.1",
    "training.loss.rationale=1.0",
]


def accuracy(job):
    """Trains one student in a project of its own and gives its last accuracy on validation."""
    variant, condition, world = job
    dataset, placement = CONDITIONS[condition]
    settings = [f"dataset={dataset}:{world}", f"rationale.placement={placement}", "evaluation.every=end"]
    # The built-in worlds are asked on test at the end unless told otherwise.
    settings += ["evaluation.final=validation"]
    settings += [f"seed.init={world}", f"seed.order={world}"] + ([variant] if variant else [])
    with tempfile.TemporaryDirectory() as project:
        command = [PROGRAM, "-C", project, "--json", "train"] + [part for s in settings for part in ("--set", s)]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    events = [json.loads(line) for line in lines]
    return job, [event["accuracy"] for event in events if event.get("event") == "evaluation"][-1]


jobs = [(variant, condition, world) for variant in VARIANTS for condition in CONDITIONS for world in WORLDS]
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    found = dict(pool.map(accuracy, jobs))
print(f"{'setting':66}" + "".join(f"{condition:>24}" for condition in CONDITIONS))
for variant in VARIANTS:
    cells = []
    for condition in CONDITIONS:
        values = [100 * found[variant, condition, world] for world in WORLDS]
        cells.append(f"{sum(values) / len(values):6.1f} ({' '.join(f'{value:.0f}' for value in values)})")
    print(f"{variant or 'as they are':66}" + "".join(f"{cell:>24}" for cell in cells), flush=True)
