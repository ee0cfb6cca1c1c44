"""Training steps of one student, ours against PyTorch's, on the same machine, in turns.

    cargo bench --no-run && python3 benches/step.py target/release/deps/step-HASH gpt2 [--threads 1] [--rounds 3] [--share 1.0]

Both train the same shape with fresh weights on random tokens: forward, cross-entropy of the same places, backward, AdamW, and the loss
read. `installed` is transformers with its defaults (as `Trainer` uses it: every place's logits); `best` is what a careful PyTorch user
gets: the fused AdamW, `sdpa` attention, and logits at the counted places only; `compiled` is `best` under torch.compile. A step is the median of
its process; the table has the medians over rounds (seconds, ratio, seconds of the processor, their ratio) and the peak of resident memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

STEPS = {"gpt2": 6, "llama": 6, "toy": 400}
SIZES = {"gpt2": (4, 128), "llama": (4, 128), "toy": (32, 95)}

PEER = r'''
import json, resource, sys, time, warnings, logging
warnings.filterwarnings("ignore"); logging.disable(logging.WARNING)
import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
model, batch, time_, steps, share, threads, kind = sys.argv[1], *map(int, sys.argv[2:5]), float(sys.argv[5]), int(sys.argv[6]), sys.argv[7]
torch.set_num_threads(threads)
torch.manual_seed(0)
if model == "llama":
    config = LlamaConfig(vocab_size=32000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
                         num_key_value_heads=4, max_position_embeddings=1024, tie_word_embeddings=True)
    net = LlamaForCausalLM(config)
else:
    shape = dict(vocab_size=1300, n_embd=64, n_layer=1, n_head=4, n_positions=160) if model == "toy" else {}
    net = GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **shape))
net.train()
body = net.model if model == "llama" else net.transformer
fused = {"fused": True} if kind != "installed" else {}
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.01, **fused)
vocabulary = net.config.vocab_size
ids = torch.tensor([[((n * (time_ + 1) + p) * 7919 + 17) % vocabulary for p in range(time_ + 1)] for n in range(batch)])
first = int((1 - share) * time_)
labels = ids.clone(); labels[:, :first + 1] = -100
def best(ids):
    hidden = body(input_ids=ids[:, :-1]).last_hidden_state[:, first:]
    return cross_entropy(net.lm_head(hidden.flatten(0, 1)), ids[:, first + 1:].flatten())
loss_of = (lambda ids: net(input_ids=ids, labels=labels).loss) if kind == "installed" else best
if kind == "compiled":
    loss_of = torch.compile(best)
seconds, cpu = [], []
for step in range(steps + 1):
    begun, cpu_begun = time.perf_counter(), time.process_time()
    loss = loss_of(ids)
    optimizer.zero_grad(); loss.backward(); optimizer.step(); value = loss.item()
    if step > 0: seconds.append(time.perf_counter() - begun); cpu.append(time.process_time() - cpu_begun)
seconds.sort(); cpu.sort()
print(json.dumps({"step_seconds": seconds[len(seconds) // 2], "cpu_seconds": cpu[len(cpu) // 2], "peak": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} kB", "loss": value}))
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
    parser.add_argument("model", choices=STEPS)
    parser.add_argument("--python", default=sys.executable, help="a Python with torch and transformers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--kinds", default="installed,best", help="of installed, best, compiled, composed (our reference operations)")
    options = parser.parse_args()
    batch, time_ = SIZES[options.model]
    steps = STEPS[options.model]
    ours = [options.program, options.model, "--batch", batch, "--time", time_, "--steps", steps, "--share", options.share]
    kinds = ["ours", *options.kinds.split(",")]
    found = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind in kinds:
            if kind in ("ours", "composed"):
                command = ours + (["--composed"] if kind == "composed" else [])
            else:
                command = [options.python, "-c", PEER, options.model, batch, time_, steps, options.share, options.threads, kind]
            found[kind].append(run(command, options.threads))
            print(kind, found[kind][-1], file=sys.stderr, flush=True)
    median = lambda kind, key: statistics.median(result[key] for result in found[kind])
    print(f"{options.model}, batch {batch} x {time_}, {options.threads} thread(s), {options.share:.0%} of the places counted")
    for kind in kinds:
        seconds, cpu = median(kind, "step_seconds"), median(kind, "cpu_seconds")
        peak = statistics.median(int(result["peak"].split()[0]) for result in found[kind]) / 2**20
        print(f"| {kind} | {seconds:.4f} s | {seconds / median('ours', 'step_seconds'):.2f} | {cpu:.4f} s | "
              f"{cpu / median('ours', 'cpu_seconds'):.2f} | {peak:.2f} GiB |")


if __name__ == "__main__":
    main()
