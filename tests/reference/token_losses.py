"""Makes tests/reference/token_losses.json: what transformers says each token of some sequences costs the GPT-2 in gpt2/.

    pip install torch transformers
    python tests/reference/token_losses.py

The weights are the float32 ones of gpt2.py; losses are computed in float64, so that a test measures only our own rounding.
"""

import json
from pathlib import Path

import torch
from transformers import GPT2LMHeadModel

HERE = Path(__file__).parent

model = GPT2LMHeadModel.from_pretrained(HERE / "gpt2", dtype=torch.float32).double().eval()
torch.manual_seed(11)
cases = []
# From two tokens, of which one is predicted, to the whole context.
for length in (2, 3, 9, 25, model.config.n_positions):
    ids = torch.randint(0, model.config.vocab_size, (length,))
    with torch.no_grad():
        logits = model(input_ids=ids[None]).logits[0]
    losses = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
    cases.append({"ids": ids.tolist(), "losses": losses.tolist()})
(HERE / "token_losses.json").write_text(json.dumps(cases) + "\n")
print([len(case["losses"]) for case in cases])
