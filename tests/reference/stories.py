"""What transformers makes of a real pretrained model: stories260K (Llama family, 260,032 parameters).

    pip install torch transformers
    python tests/reference/stories.py PATH/TO/stories260K > tests/reference/stories260K.json

The model itself is not part of this project; the test that reads this says that it is skipped where the model is missing.
Computed in float64: the ids of a prompt, 60 greedy tokens after it, and the mean loss of the whole text under the model.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = sys.argv[1]
torch.set_num_threads(1)
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
prompt = [model.config.bos_token_id] + tokenizer.encode("Once upon a time, there was a little girl named", add_special_tokens=False)
ids = torch.tensor([prompt])
with torch.no_grad():
    text = model.generate(ids, max_new_tokens=60, do_sample=False, eos_token_id=None, pad_token_id=0)[0]
    logits = model(text[None]).logits[0, :-1]
    loss = torch.nn.functional.cross_entropy(logits, text[1:])
json.dump({"prompt": prompt, "greedy": text[len(prompt):].tolist(), "loss": loss.item(),
           "text": tokenizer.decode(text[1:])}, sys.stdout, indent=1)
print()
