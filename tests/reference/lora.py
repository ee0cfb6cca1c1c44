"""Makes the fixtures in tests/reference/lora: adapters as PEFT writes them, and what PEFT says of the adapted models.

    pip install torch transformers peft safetensors
    python tests/reference/lora.py

The base models are those of tests/reference/families. Each folder holds `adapter_config.json` and
`adapter_model.safetensors` as `save_pretrained` writes them, and `expected.safetensors`: `logits` for the family's `ids`, and
`grad.NAME` of the family's weighted loss for every adapter tensor, all from a float64 copy. Both matrices are random, so that
no gradient is zero.
"""

import json
import zlib
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
CASES = {
    "llama-bias": dict(r=3, lora_alpha=5, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    "gpt2-distil": dict(r=2, lora_alpha=4, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True),
    "qwen3": dict(r=4, lora_alpha=3, target_modules=["v_proj", "up_proj"], use_rslora=True),
    "gpt_neox": dict(r=2, lora_alpha=2, target_modules=["query_key_value", "dense_4h_to_h"]),
    "mistral": dict(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj", "gate_proj", "down_proj"], use_dora=True),
    "gpt2": dict(r=2, lora_alpha=4, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, use_dora=True),
    "gpt_neox-sequential": dict(r=2, lora_alpha=3, target_modules=["query_key_value", "dense"], use_dora=True),
}
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
for name, settings in CASES.items():
    base = HERE / "families" / name
    torch.manual_seed(zlib.crc32(name.encode()))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)).eval()
    adapters = {key: value for key, value in model.named_parameters() if "lora_" in key}
    for key, value in adapters.items():
        noise = torch.randn(value.shape) * 0.2
        # The lengths of DoRA begin at those of the weights.
        value.data.copy_(value.data * (1 + noise) if "magnitude" in key else noise)
    folder = HERE / "lora" / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    # Where the base model was on the machine that made this is nobody's business.
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = name
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    reference = load_file(base / "reference.safetensors")
    ids, weights = reference["ids"].long(), reference["weights"].double()
    model = model.double()
    logits = model(input_ids=ids, use_cache=False).logits
    losses = cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    ((losses * weights.flatten()).sum() / weights.sum()).backward()
    expected = {"logits": logits.detach().float()}
    for key, value in adapters.items():
        expected["grad." + key.replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector")] = value.grad.float()
    save_file({key: value.contiguous() for key, value in expected.items()}, folder / "expected.safetensors")
    print(name, len(adapters), "adapter tensors")
