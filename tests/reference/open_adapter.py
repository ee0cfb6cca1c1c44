"""Opens an exported adapter in PEFT, and the same run exported as a whole model in transformers, and compares them.

    pip install torch transformers peft
    afterthought runs export RUN --to adapter && afterthought runs export RUN --merge --to whole
    python tests/reference/open_adapter.py adapter whole

Prints the largest difference of logits over random ids; it must be below 1e-4, and that to the base model above it.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

adapter, whole = sys.argv[1:3]
base = json.loads((Path(adapter) / "adapter_config.json").read_text())["base_model_name_or_path"]
torch.manual_seed(0)
plain = AutoModelForCausalLM.from_pretrained(base).double().eval()
ids = torch.randint(3, plain.config.vocab_size, (4, 24))
with torch.no_grad():
    before = plain(ids).logits
    adapted = PeftModel.from_pretrained(plain, adapter).double().eval()(ids).logits
    merged = AutoModelForCausalLM.from_pretrained(whole).double().eval()(ids).logits
gap, moved = (adapted - merged).abs().max().item(), (adapted - before).abs().max().item()
print(f"PEFT against the whole model {gap:.1e}, against the base {moved:.1e}")
assert gap < 1e-4 < moved
