"""At which layer, and after which token, labels of the toy world become readable: the numbers of docs/lenses.md.

    pip install numpy safetensors
    cargo build --release && python3 scripts/toyworld_lenses.py target/release/afterthought PROJECT

Trains students of one layer (the toy) and of four, with the seeds 0 to 2, under `none`, `post` and `pre`, in the folder
PROJECT, a tuned lens on each, and prints what both lenses read on the test split. What is in PROJECT already is used.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
from safetensors.numpy import load_file, save_file

PROGRAM, PROJECT = str(Path(sys.argv[1]).absolute()), Path(sys.argv[2])
SEEDS, PLACEMENTS, DEPTHS = (0, 1, 2), ("pre", "post", "none"), (1, 4)


def ask(*arguments):
    done = subprocess.run([PROGRAM, "-C", str(PROJECT), *arguments, "--json"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{arguments}: {done.stderr}")
    return done.stdout


def train(name, settings):
    """The run of these settings: the one that an earlier call began, or a new one."""
    known = PROJECT / "lenses.json"
    runs = json.loads(known.read_text()) if known.exists() else {}
    if name not in runs:
        lines = ask("train", *[part for setting in settings for part in ("--set", setting)]).splitlines()
        runs[name] = sorted((PROJECT / "runs").glob("2*"), key=lambda path: path.stat().st_mtime)[-1].name
        assert any(json.loads(line).get("state") == "finished" for line in lines), name
        known.write_text(json.dumps(runs, indent=1))
    return runs[name]


def deeper(layers, seed):
    """A folder with the toy's vocabulary, width and heads, and fresh weights for more layers (GPT-2's initial ones)."""
    toy = next((PROJECT / "runs" / train(f"1 none {seed}", settings(1, "none", seed)) / "checkpoints").iterdir())
    folder = PROJECT / "students" / f"{layers}-layers-{seed}"
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    shutil.copy(toy / "tokenizer.json", folder)
    config = json.loads((toy / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": layers}, indent=2))
    draw = numpy.random.default_rng(seed)
    weights = {}
    for name, tensor in load_file(toy / "model.safetensors").items():
        names = [name.replace(".h.0.", f".h.{layer}.") for layer in range(layers)] if ".h.0." in name else [name]
        for own in names:
            if tensor.ndim == 1:
                weights[own] = numpy.full(tensor.shape, float(own.endswith("weight")), numpy.float32)
            else:
                spread = 0.02 / (2 * layers) ** 0.5 if "c_proj" in own else 0.02
                weights[own] = draw.normal(0, spread, tensor.shape).astype(numpy.float32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def settings(layers, placement, seed):
    own = [f"rationale.placement={placement}", "evaluation.every=end", "dataset=toyworld"]
    own += [f"seed.{name}={seed}" for name in ("init", "order", "ablation")]
    if layers > 1:
        # The toy's own settings, with a rate that four layers bear.
        own += [f"student={deeper(layers, seed).relative_to(PROJECT)}", "training.learning_rate=0.003"]
        own += ["training.steps=800", "training.batch_size=32", "training.schedule=cosine", "training.warmup=30",
                "training.floor=0.1", "training.beta2=0.98", "training.weight_decay=1.0", "training.clip=1.0",
                "training.dropout={embedding: 0.1, residual: 0.1, attention: 0.0}", "training.loss.rationale=0.3",
                "training.reduction=example_sum", "evaluation.answer=likelihood", "evaluation.final=test"]
    return own


for layers in DEPTHS:
    for seed in SEEDS:
        for placement in PLACEMENTS:
            run = train(f"{layers} {placement} {seed}", settings(layers, placement, seed))
            if not list((PROJECT / "runs" / run).glob("lenses/tuned.*")):
                ask("lens", "train", run)
            for lens in ("logit", "tuned"):
                table = json.loads(ask("lens", "table", run, "toyworld", "--split", "test", "--lens", lens))
                count = table["examples"]
                share = [f"{100 * layer['readable'] / count:5.1f}" for layer in table["layers"]]
                begins = [f"{100 * layer['begins'] / count:5.1f}" for layer in table["layers"]]
                print(f"{layers} layers, {placement}, seed {seed}, {lens}: readable {' '.join(share)}, from here "
                      f"{' '.join(begins)}, never {100 * table['never'] / count:.1f}", flush=True)
                last = [[f"{100 * t[i]['count'] / t[i]['of']:.0f}" if t[i]["of"] else "-" for t in table["tenths"]]
                        for i in range(layers + 1)]
                for layer, tenths in enumerate(last):
                    print(f"    tenths, layer {layer}: {' '.join(tenths)}")
                words = " ".join(f"{w['token']} {w['count']}" for w in table["after_tokens"][:10])
                print(f"    after: {table['after_roles']} {words}", flush=True)
