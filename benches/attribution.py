"""Integrated gradients of one example, ours against captum's LayerIntegratedGradients, on the same machine, in turns.

    cargo bench --no-run && python3 benches/attribution.py target/release/deps/attribution-HASH [--threads 1] [--rounds 3]

The GPT-2 124M shape with fresh weights, 64 tokens, 20 Gauss-Legendre steps, the word table hooked, log p of one next token. `installed` is
transformers and captum as they are used: every place's logits, all steps in one batch. `best` asks for the last place's logits alone and lets captum
split the steps into the batches that are fastest here (`internal_batch_size`). A figure is the median of its process; the table has the medians
over rounds, and the peak of resident memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

PEER = r'''
import json, resource, sys, time, warnings, logging
warnings.filterwarnings("ignore"); logging.disable(logging.WARNING)
import torch
from captum.attr import LayerIntegratedGradients
from transformers import GPT2Config, GPT2LMHeadModel
time_, steps, threads, kind, repeats = *map(int, sys.argv[1:4]), sys.argv[4], int(sys.argv[5])
torch.set_num_threads(threads)
torch.manual_seed(0)
net = GPT2LMHeadModel(GPT2Config()).eval()
ids = torch.tensor([[(p * 7919 + 17) % 50257 for p in range(time_)]])
keep = {} if kind == "installed" else {"logits_to_keep": 1}
def log_p(ids):
    return torch.log_softmax(net(input_ids=ids, use_cache=False, **keep).logits[:, -1], -1)[:, 42]
method = LayerIntegratedGradients(log_p, net.transformer.wte)
def run(size):
    begun = time.perf_counter()
    scores = method.attribute(ids, baselines=torch.zeros_like(ids), n_steps=steps, method="gausslegendre", internal_batch_size=size)
    scores.sum(-1).tolist()
    return time.perf_counter() - begun
if kind == "installed":
    size = None
else:
    size = min((4, 8, 20), key=lambda size: (run(size), run(size))[1])
run(size)
seconds = sorted(run(size) for _ in range(repeats))
print(json.dumps({"seconds": seconds[len(seconds) // 2], "batch": size, "peak": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} kB"}))
'''


def run(command, threads):
    environment = {**os.environ, **{name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch, transformers and captum")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--time", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    repeats = 3
    commands = {
        "ours": [options.program, "gpt2", "--time", options.time, "--steps", options.steps, "--rounds", repeats],
        **{
            f"captum, {kind}": [options.python, "-c", PEER, options.time, options.steps, options.threads, kind, repeats]
            for kind in ("installed", "best")
        },
    }
    found = {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, command in commands.items():
            found[name].append(run(command, options.threads))
    seconds = {name: statistics.median(one["seconds"] for one in all_) for name, all_ in found.items()}
    print(f"{options.time} tokens, {options.steps} steps, {options.threads} threads")
    for name, all_ in found.items():
        peak = statistics.median(int(one["peak"].split()[0]) for one in all_) / 1e6
        print(f"{name:20} {seconds[name]:7.2f} s  {seconds[name] / seconds['ours']:5.2f} times ours  {peak:5.2f} GB")


if __name__ == "__main__":
    main()
