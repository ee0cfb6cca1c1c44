"""Opens a checkpoint of ours in transformers and compares logits and greedy text with what afterthought says.

    pip install torch transformers
    afterthought train --set training.steps=100
    python tests/reference/open_checkpoint.py target/release/afterthought runs/ID/checkpoints/step-100

Prints the largest difference between the likelihoods of the choices of fifty examples; it must be below 1e-4.
"""

import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

program, checkpoint = sys.argv[1:3]
model = AutoModelForCausalLM.from_pretrained(checkpoint).double().eval()
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
command = [program, "--json", "evaluate", checkpoint, "--split", "test", "--limit", "50", "--each"]
lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
predictions = [json.loads(line) for line in lines if line.startswith('{"id"')]
worst = 0.0
for prediction in predictions:
    command = [program, "--json", "render", prediction["dataset"] or "toyworld", "--id", prediction["id"],
               "--set", "rationale.placement=none"]
    rendered = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["tokens"]
    label = next(place for place, token in enumerate(rendered) if token["role"] == "label")
    ids = [token["id"] for token in rendered[:label]]
    # transformers' own tokenizer reads the same text as the same tokens.
    text = "".join(token["text"] for token in rendered[1:label])
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids[1:], text
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], -1)
    gold = rendered[label]["id"]
    ours = next(c for c in prediction["choices"] if c["label"] == prediction["answer"])["log_likelihood"]
    worst = max(worst, abs(log_p[gold].item() - ours))
print(f"{len(predictions)} examples, largest difference {worst:.1e}")
assert predictions and worst < 1e-4
