"""Makes the fixture in tests/reference/gpt2: a small random GPT-2 and what transformers says of it.

    pip install torch transformers safetensors
    python tests/reference/gpt2.py

The weights are float32; everything expected is computed in float64, so that a test measures only our own rounding.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

OUT = Path(__file__).parent / "gpt2"
VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS = 97, 40, 24, 2, 3

torch.manual_seed(7)
config = GPT2Config(
    vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, attn_implementation="eager",
    bos_token_id=0, eos_token_id=1,
)
model = GPT2LMHeadModel(config).float().eval()
with torch.no_grad():
    for parameter in model.parameters():
        # Far from the initial state, so that no gradient is small and no bias is zero.
        parameter.add_(torch.randn_like(parameter) * 0.15)

OUT.mkdir(exist_ok=True)
weights = {name: parameter.detach().clone().contiguous() for name, parameter in model.named_parameters()}
save_file(weights, OUT / "model.safetensors", metadata={"format": "pt"})
config.save_pretrained(OUT)
vocabulary = {word: place for place, word in enumerate(["<bos>", "<eos>"] + [f"w{i}" for i in range(2, VOCABULARY)])}
(OUT / "tokenizer.json").write_text(json.dumps({
    "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
    "added_tokens": [
        {"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True} for i, token in enumerate(["<bos>", "<eos>"])
    ],
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w2"},
}))

model = model.double()
expected = {}

# A batch with a weight on some of the next tokens.
ids = torch.randint(2, VOCABULARY, (3, 17))
weights = torch.where(torch.rand(3, 16) < 0.6, torch.rand(3, 16), torch.zeros(3, 16)).double()
logits = model(input_ids=ids).logits
losses = torch.nn.functional.cross_entropy(
    logits[:, :-1].reshape(-1, VOCABULARY), ids[:, 1:].reshape(-1), reduction="none").reshape(3, 16)
total = (losses * weights).sum()
total.backward()
expected |= {"ids": ids, "weights": weights, "logits": logits, "losses": losses, "total": total.reshape(1)}
expected |= {f"gradient.{name}": parameter.grad for name, parameter in model.named_parameters()}

# Greedy continuations of prompts of different lengths.
for place, length in enumerate((3, 9, 5, 1)):
    prompt = torch.randint(2, VOCABULARY, (1, length))
    text = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False, eos_token_id=None,
        pad_token_id=0)
    expected |= {f"prompt.{place}": prompt[0], f"continuation.{place}": text[0, length:]}

save_file({name: value.detach().contiguous() for name, value in expected.items()}, OUT / "expected.safetensors")
print({name: tuple(value.shape) for name, value in expected.items() if not name.startswith("gradient")})
