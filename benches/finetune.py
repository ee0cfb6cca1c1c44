"""A real fine-tune, ours against the Hugging Face Trainer at its defaults: GPT-2 124M on CommonsenseQA with its rationales.

    cargo build --release
    python3 benches/finetune.py target/release/afterthought --rows CSQA_FOLDER --tokenizer GPT2_FOLDER [--threads 1] [--rounds 3]

CSQA_FOLDER is a data set of an afterthought project, with a rationale source (--source); GPT2_FOLDER has GPT-2's tokenizer.json. The
weights are fresh ones, the same for both. Both train one epoch over the same token sequences, the label and the rationale after it counted,
batches of 8, dropout as the student's config.json has it. The Trainer pads each batch to its longest and shuffles; ours does what a
run does by itself, sorting like lengths together and writing its journal. A step's seconds are those between the first and the last step's end,
divided by their number, so that neither's start and end count.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

MAKE = r'''
import sys
import torch
from transformers import GPT2Config, GPT2LMHeadModel
torch.manual_seed(0)
GPT2LMHeadModel(GPT2Config()).save_pretrained(sys.argv[1])
'''

PEER = r'''
import json, logging, resource, sys, time, warnings
warnings.filterwarnings("ignore"); logging.disable(logging.WARNING)
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
student, rows, out, threads = sys.argv[1:4] + [int(sys.argv[4])]
torch.set_num_threads(threads)
data = [json.loads(line) for line in open(rows)]

def collate(rows):
    longest = max(len(row["ids"]) for row in rows)
    def pad(key, value):
        return torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in rows])
    return {"input_ids": pad("ids", 50256), "labels": pad("labels", -100), "attention_mask": pad("mask", 0)}

class Clock(TrainerCallback):
    ends = []
    def on_step_end(self, *_, **__):
        self.ends.append(time.perf_counter())

clock = Clock()
arguments = TrainingArguments(output_dir=out, num_train_epochs=1, report_to=[], save_strategy="no", disable_tqdm=True, remove_unused_columns=False)
trainer = Trainer(model=AutoModelForCausalLM.from_pretrained(student), args=arguments, train_dataset=data, data_collator=collate, callbacks=[clock])
loss = trainer.train().training_loss
steps = len(clock.ends)
print(json.dumps({"step_seconds": (clock.ends[-1] - clock.ends[0]) / (steps - 1), "steps": steps, "loss": loss,
                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
'''


def run(command, threads, **more):
    environment = {**os.environ, **{name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:200]} failed:\n{done.stderr}")
    return done.stdout


def make_project(options, folder):
    """A project with the first rows that have a rationale, and what the student sees of each, for the peer."""
    student, dataset = folder / "gpt2", folder / "datasets" / "rows"
    run([options.python, "-c", MAKE, student], 2)
    shutil.copy(options.tokenizer / "tokenizer.json", student)
    dataset.mkdir(parents=True)
    shutil.copy(options.rows / "dataset.yaml", dataset)
    shutil.copytree(options.rows / "rationales", dataset / "rationales")
    lines = (options.rows / "train.jsonl").read_text().splitlines()[: options.count]
    for split in ("train.jsonl", "validation.jsonl"):
        (dataset / split).write_text("\n".join(lines) + "\n")
    settings = ["--set", f"rationale.source={options.source}"]
    with open(folder / "rows.jsonl", "w") as out:
        for line in lines:
            name = json.loads(line)["id"]
            shown = run([options.program, "-C", folder, "render", "rows", "--id", name, "--student", student, *settings, "--json"], 1)
            tokens = json.loads(shown)["tokens"]
            ids = [token["id"] for token in tokens]
            labels = [token["id"] if token["loss"] > 0 else -100 for token in tokens]
            out.write(json.dumps({"ids": ids, "labels": labels, "mask": [1] * len(ids)}) + "\n")
    return student, settings


def ours(options, folder, student, settings):
    command = [options.program, "-C", folder, "train", "--set", "dataset=rows", "--set", f"student={student}", *settings]
    for setting in ("training.epochs=1", "training.batch_size=8", f"training.threads={options.threads}", "evaluation.limit=1", "evaluation.every=end"):
        command += ["--set", setting]
    printed = run([*command, "--json"], options.threads)
    last = json.loads(printed.strip().splitlines()[-1])
    journal = folder / "runs" / last["id"] / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    seconds = lambda event: __import__("datetime").datetime.fromisoformat(event["time"]).timestamp()
    mean = (seconds(steps[-1]) - seconds(steps[0])) / (len(steps) - 1)
    return {"step_seconds": mean, "steps": len(steps), "tokens": steps[-1]["tokens"], "loss": statistics.mean(step["loss"] for step in steps)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--rows", type=pathlib.Path, required=True)
    parser.add_argument("--source", default="cos-e")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=160, help="rows")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch and transformers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.program = options.program.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        student, settings = make_project(options, folder)
        found = {"ours": [], "trainer": []}
        for _ in range(options.rounds):
            found["ours"].append(ours(options, folder, student, settings))
            peer = run([options.python, "-P", "-c", PEER, student, folder / "rows.jsonl", folder / "out", options.threads], options.threads)
            found["trainer"].append(json.loads(peer.strip().splitlines()[-1]))
            print({kind: results[-1] for kind, results in found.items()}, flush=True)
        median = {kind: statistics.median(result["step_seconds"] for result in results) for kind, results in found.items()}
        print(f"seconds a step: ours {median['ours']:.3f}, Trainer {median['trainer']:.3f}, ratio {median['trainer'] / median['ours']:.2f}")


if __name__ == "__main__":
    main()
