"""Makes the fixture in tests/reference/soft_labels: a small teacher for the student in tests/reference/gpt2, and what PyTorch says of the
loss that blends its probabilities with the tokens themselves, with every gradient.

    pip install torch transformers safetensors
    python tests/reference/gpt2.py && python tests/reference/soft_labels.py

Computed in float64; gradients are stored in float32, whose rounding is far below what the test allows.
"""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

HERE = Path(__file__).parent
OUT = HERE / "soft_labels"
OUT.mkdir(exist_ok=True)

torch.manual_seed(11)
config = GPT2Config(
    vocab_size=97, n_positions=40, n_embd=16, n_layer=1, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    attn_implementation="eager", bos_token_id=0, eos_token_id=1,
)
teacher = GPT2LMHeadModel(config).float().eval()
with torch.no_grad():
    for parameter in teacher.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.3)
save_file({name: parameter.detach().clone().contiguous() for name, parameter in teacher.named_parameters()},
          OUT / "model.safetensors", metadata={"format": "pt"})
config.save_pretrained(OUT)
shutil.copy(HERE / "gpt2" / "tokenizer.json", OUT)
teacher = teacher.double()

student = GPT2LMHeadModel.from_pretrained(HERE / "gpt2", attn_implementation="eager").double().eval()
batch = load_file(HERE / "gpt2" / "expected.safetensors")
ids, weights = batch["ids"], batch["weights"]

expected = {}
for temperature, share in ((2.0, 0.7), (0.5, 1.0)):
    student.zero_grad()
    rows = student(input_ids=ids).logits[:, :-1].reshape(-1, 97)
    with torch.no_grad():
        soft = torch.softmax(teacher(input_ids=ids).logits[:, :-1].reshape(-1, 97) / temperature, -1)
    hard = torch.nn.functional.cross_entropy(rows, ids[:, 1:].reshape(-1), reduction="none")
    divergence = torch.nn.functional.kl_div(torch.log_softmax(rows / temperature, -1), soft, reduction="none").sum(-1)
    total = (((1 - share) * hard + share * temperature**2 * divergence) * weights.reshape(-1)).sum()
    total.backward()
    name = f"T{temperature:g}"
    expected[f"{name}.total"] = total.detach().reshape(1)
    expected |= {f"{name}.{key}": parameter.grad.float().clone() for key, parameter in student.named_parameters()}
save_file({name: tensor.contiguous() for name, tensor in expected.items()}, OUT / "expected.safetensors")
