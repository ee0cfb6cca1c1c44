"""Whether attributions find the cues of the toy world: the numbers of docs/attribution.md.

    cargo build --release && python3 scripts/toyworld_attribution.py target/release/afterthought PROJECT [WORLD…]

On each of five fresh worlds a reader is trained (as `keep: {by: attribution}` would), with two initial seeds; every method's faithfulness is measured on
the test split, against random orders, against the cues that the world is made of, and against the reader of the other seed. Then the same by
integrated gradients for a student that had the rationale before its label with the subject in sight, and for one that had it after. What is in PROJECT
already is used.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

PROGRAM, PROJECT = str(Path(sys.argv[1]).absolute()), Path(sys.argv[2])
WORLDS = sys.argv[3:] or [f"toyworld:{seed}" for seed in range(311, 316)]
READER = ["rationale.placement=pre", "rationale.hide=subject", "evaluation.rationale=teacher", "evaluation.answer=likelihood",
          "training.loss.rationale=0"]
STUDENTS = {"reader": READER, "pre": ["rationale.placement=pre", "evaluation.rationale=teacher"], "post": ["rationale.placement=post"]}


def ask(*arguments):
    done = subprocess.run([PROGRAM, "-C", str(PROJECT), *arguments, "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{arguments}: {done.stderr}")
    return done.stdout


def train(name, world, seed, settings):
    """The run of these settings: the one that an earlier call began, or a new one."""
    known = PROJECT / "attribution.json"
    runs = json.loads(known.read_text()) if known.exists() else {}
    if name not in runs:
        before = set((PROJECT / "runs").glob("2*")) if (PROJECT / "runs").exists() else set()
        settings = [f"dataset={world}", f"seed.init={seed}", f"seed.order={seed}", "evaluation.every=end", *settings]
        ask("train", *[part for setting in settings for part in ("--set", setting)])
        (new,) = set((PROJECT / "runs").glob("2*")) - before
        runs[name] = new.name
        known.write_text(json.dumps(runs, indent=1))
    return runs[name]


def mean(numbers):
    numbers = [number for number in numbers if number is not None]
    if not numbers:
        return "–"
    spread = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return f"{statistics.fmean(numbers):.2f} ± {spread:.2f}"


def main():
    PROJECT.mkdir(exist_ok=True)
    methods, students, accuracy, agreement, between = {}, {}, [], {}, []
    for world in WORLDS:
        runs = [train(f"{world} reader {seed}", world, seed, READER) for seed in (0, 1)]
        accuracy.append(json.loads(ask("runs", "show", runs[0]))["accuracy"])
        found = json.loads(ask("faithfulness", runs[0], world, "--split", "test"))
        for method in found["methods"]:
            methods.setdefault(method["name"], []).append(method)
        random = found["random"]
        for name in ("deletion", "insertion"):
            curve = random[name]
            methods.setdefault("random", {}).setdefault(name, []).append(sum((a + b) / 2 for a, b in zip(curve, curve[1:])) / (len(curve) - 1))
        for pair in found["agreement"]:
            agreement.setdefault((pair["one"], pair["other"]), []).append((pair["spearman"], pair["overlap"]))
        both = json.loads(ask("faithfulness", runs[0], world, "--split", "test", "--methods", "integrated-gradients", "--against", runs[1]))
        between.append((both["agreement"][0]["spearman"], both["agreement"][0]["overlap"]))
        for name, settings in STUDENTS.items():
            run = train(f"{world} {name} 0", world, 0, settings)
            own = json.loads(ask("faithfulness", run, world, "--split", "test", "--methods", "integrated-gradients"))
            students.setdefault(name, []).append(own["methods"][0])
        print(world, "done", file=sys.stderr)
    random = methods.pop("random")
    print(f"readers: accuracy {mean(accuracy)} on {len(WORLDS)} worlds\n")
    print("| method | precision | deletion | insertion |\n|---|---|---|---|")
    for name, all_ in methods.items():
        precision = mean([own["precision"]["share"] for own in all_])
        print(f"| {name} | {precision} | {mean([own['deletion']['area'] for own in all_])} | {mean([own['insertion']['area'] for own in all_])} |")
    chance = mean([own["precision"]["chance"] for own in next(iter(methods.values()))])
    print(f"| random order | {chance} | {mean(random['deletion'])} | {mean(random['insertion'])} |\n")
    first = next(iter(methods.values()))
    print("precision by world:", [round(own["precision"]["share"], 3) for own in first])
    print("deletion less random by world:", [[round(own["deletion"]["against_random"], 3)] + [round(x, 3) for x in own["deletion"]["interval"]] for own in first])
    print("\n| agreement | rank correlation | top 5 |\n|---|---|---|")
    for (one, other), all_ in agreement.items():
        print(f"| {one} · {other} | {mean([own[0] for own in all_])} | {mean([own[1] for own in all_])} |")
    print(f"| integrated gradients of two seeds | {mean([own[0] for own in between])} | {mean([own[1] for own in between])} |\n")
    print("| student | precision | deletion less random | insertion less random |\n|---|---|---|---|")
    for name, all_ in students.items():
        less = [mean([own[kind]["against_random"] for own in all_]) for kind in ("deletion", "insertion")]
        print(f"| {name} | {mean([own['precision']['share'] for own in all_])} | {less[0]} | {less[1]} |")


if __name__ == "__main__":
    main()
