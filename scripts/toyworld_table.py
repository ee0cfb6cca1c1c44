"""Measures the table of docs/toyworld.md: five fresh worlds, test split, settings frozen before.

    cargo build --release && python3 scripts/toyworld_table.py target/release/afterthought PROJECT

The conditions of the tour and its neighbours, over the worlds of seeds 5 to 9, each with a student of its own seed. Runs
that PROJECT already has are not run again, so the script can be stopped and continued.
"""

import concurrent.futures
import json
import statistics
import subprocess
import sys

PROGRAM, PROJECT = sys.argv[1:3]
WORLDS = (5, 6, 7, 8, 9)
CLEAN, NOISY = "toyworld", "toyworld-noisy"
CONDITIONS = [
    ("none", CLEAN, "none", "[]", []),
    ("none, twice the steps", CLEAN, "none", "[]", ["training.steps=1600"]),
    ("pre", CLEAN, "pre", "[]", []),
    ("post", CLEAN, "post", "[]", []),
    ("post, shuffled tokens", CLEAN, "post", "[{shuffle: {unit: token}}]", []),
    ("post, shuffled sentences", CLEAN, "post", "[{shuffle: {unit: sentence}}]", []),
    ("post, 3 key tokens", CLEAN, "post", "[{keep: {by: attribution, count: 3}}]", []),
    ("post, 3 random tokens", CLEAN, "post", "[{keep: {by: random, count: 3}}]", []),
    ("post, 40 % masked, not in the loss", CLEAN, "post", "[{mask: {fraction: 0.4}}]", []),
    ("post, 40 % masked, in the loss", CLEAN, "post", "[{mask: {fraction: 0.4, in_loss: true}}]", []),
    ("post, 80 % masked, not in the loss", CLEAN, "post", "[{mask: {fraction: 0.8}}]", []),
    ("post, 80 % masked, in the loss", CLEAN, "post", "[{mask: {fraction: 0.8, in_loss: true}}]", []),
    ("post, 80 % dropped", CLEAN, "post", "[{mask: {fraction: 0.8, how: drop}}]", []),
    ("post, another example's rationale", CLEAN, "post", "[{swap: {with: another-example}}]", []),
    ("post, filler, not in the loss", CLEAN, "post", "[{fill: {}}]", []),
    ("post, filler, in the loss", CLEAN, "post", "[{fill: {in_loss: true}}]", []),
    ("none, noisy teacher", NOISY, "none", "[]", []),
    ("pre, noisy teacher", NOISY, "pre", "[]", []),
    ("post, noisy teacher", NOISY, "post", "[]", []),
]


def afterthought(*arguments):
    command = [PROGRAM, "-C", PROJECT, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def train(job):
    """Gives the accuracy of one condition on one world's test split."""
    (name, dataset, placement, ablations, more), world = job
    if (name, world) in known:
        return job[0][0], world, known[name, world]
    settings = [f"dataset={dataset}:{world}", f"rationale.placement={placement}", f"rationale.ablations={ablations}"]
    settings += [f"seed.{seed}={world}" for seed in ("init", "order", "ablation")] + more
    settings += ["evaluation.every=end", "evaluation.final=test", f"tags.table={name}"]
    run = afterthought("train", *[part for setting in settings for part in ("--set", setting)]).split()[-1]
    return name, world, json.loads(afterthought("--json", "runs", "show", run))["accuracy"]


known = {}
for run in json.loads(afterthought("--json", "runs", "list")):
    if run["state"] == "finished":
        spec = json.loads(afterthought("--json", "runs", "show", run["id"]))["spec"]
        if "table" in spec.get("tags", {}):
            known[spec["tags"]["table"], int(spec["dataset"].split(":")[1])] = run["accuracy"]
jobs = [(condition, world) for condition in CONDITIONS for world in WORLDS]
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    found = {(name, world): accuracy for name, world, accuracy in pool.map(train, jobs)}
print(f"| condition | worlds {' / '.join(map(str, WORLDS))} | mean ± deviation |\n|---|---|---|")
for name, *_ in CONDITIONS:
    values = [100 * found[name, world] for world in WORLDS]
    cells = " / ".join(f"{value:.1f}" for value in values)
    print(f"| {name} | {cells} | {statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} |")
