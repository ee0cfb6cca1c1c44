"""Says how far transformers itself is from double precision when it computes in bfloat16: tests/reference/bf16.json.

    pip install torch transformers safetensors
    python tests/reference/bf16.py

For each model of tests/reference/families: the largest error of the logits, of the loss and of the worst parameter's gradient, each over
the largest reference value, with weights and activations in bfloat16 and losses of float32 logits, as transformers has them.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from families import published

HERE = Path(__file__).parent
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def gap(got, want):
    return ((got.double() - want.double()).abs().max() / want.double().abs().max()).item()


found = {}
for folder in sorted(path for path in (HERE / "families").iterdir() if (path / "config.json").exists()):
    reference = load_file(folder / "reference.safetensors")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager").eval()
    ids, weights = reference["ids"].long(), reference["weights"]
    logits = model(input_ids=ids, use_cache=False).logits
    losses = cross_entropy(logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    loss = (losses * weights.flatten()).sum() / weights.sum()
    loss.backward()
    # Elements that change nothing have gradients of rounding alone.
    counted = {key: value for key, value in published(model).items()
               if (null := reference.get(f"null.{key}")) is None or not null.all()}
    worst = max(gap(value.grad, reference[f"grad.{key}"]) for key, value in counted.items())
    found[folder.name] = [float(f"{value:.2e}") for value in (gap(logits, reference["logits"]), gap(loss, reference["loss"][0]), worst)]
    print(folder.name, found[folder.name])
(HERE / "bf16.json").write_text(json.dumps(found, indent=1) + "\n")
