"""Makes the fixture tests/reference/lens.safetensors: what PyTorch says of lenses on some of the small students in
tests/reference/families.

    pip install torch transformers safetensors
    python tests/reference/lens.py

Everything is computed in float64 from the students' float32 weights. For each FAMILY there are

    FAMILY.ids                u32 (rows, time): the batch of the family's own fixture
    FAMILY.streams            f64 (layers + 1, rows, time, width): the residual stream before the first layer and after each,
                              the last one before the last norm; all but that one are transformers' `output_hidden_states`
    FAMILY.probabilities      f32 (layers + 1, rows, time, vocabulary): of the logit lens
    FAMILY.ranks              u32 (layers + 1, rows, time - 1): of the token that follows, 1 for the likeliest
    FAMILY.AHEAD.maps.S.weight, .bias     f64: the maps x + x W + b of a lens that looks AHEAD tokens beyond the next one,
                              for each stream S that has one; small random numbers to begin with
    FAMILY.AHEAD.places       u32: the places that count, in the flattened batch
    FAMILY.AHEAD.divergences  f64 (streams with a map): KL(final distribution AHEAD places on || lens), the mean over places
    FAMILY.AHEAD.grad.S.weight, .bias     f64: gradients of their sum over streams
    FAMILY.AHEAD.adamw.S.weight, .bias    f64: the maps after STEPS steps of AdamW on the same places, learning rate 0.01,
                              betas 0.9 and 0.999, eps 1e-8, no decay
"""

from pathlib import Path

import torch
from families import Double, double
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

HERE = Path(__file__).parent
# Layer norm; root-mean-square norms; capped logits; an output bias and parallel layers.
FAMILIES = ("gpt2", "llama", "gemma2", "phi")
STEPS, RATE = 5, 0.01

torch.manual_seed(5)
expected = {}

for family in FAMILIES:
    folder = HERE / "families" / family
    reference = load_file(folder / "reference.safetensors")
    config = AutoConfig.from_pretrained(folder, attn_implementation="eager")
    model = double(config, load_file(folder / "model.safetensors"))
    ids = reference["ids"].long()
    inner = model.transformer if hasattr(model, "transformer") else model.model
    norm = next(getattr(inner, name) for name in ("ln_f", "norm", "final_layernorm") if hasattr(inner, name))

    seen = {}
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.setdefault("last", inputs[0].detach()))
    with Double(), torch.no_grad():
        out = model(input_ids=ids, output_hidden_states=True, use_cache=False)
    hook.remove()
    streams = torch.stack([*out.hidden_states[:-1], seen["last"]]).double()
    gap = (out.logits - reference["logits"]).abs().max() / reference["logits"].abs().max()
    assert gap < 1e-6, f"{family}: {gap}"

    def read(x):
        with Double():
            logits = model.lm_head(norm(x))
        cap = getattr(model.config, "final_logit_softcapping", None)
        return torch.tanh(logits / cap) * cap if cap else logits

    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert (read(streams[-1]) - out.logits).abs().max() < 1e-9, family
    logits = torch.stack([read(x) for x in streams])
    follows = logits[:, :, :-1].gather(-1, ids[:, 1:].expand(len(streams), -1, -1).unsqueeze(-1))
    expected |= {
        f"{family}.ids": ids.to(torch.uint32),
        f"{family}.streams": streams,
        f"{family}.probabilities": torch.softmax(logits, -1).float(),
        f"{family}.ranks": (1 + (logits[:, :, :-1] > follows).sum(-1)).to(torch.uint32),
    }

    rows, time = ids.shape
    width = streams.shape[-1]
    for ahead in (0, 2):
        count = len(streams) - (ahead == 0)
        maps = [
            (torch.randn(width, width, dtype=torch.float64) * 0.05, torch.randn(width, dtype=torch.float64) * 0.05)
            for _ in range(count)
        ]
        # The last place of the last row but one is left out, as if it were padding.
        places = [row * time + place for row in range(rows) for place in range(time - ahead - (row == rows - 2))]
        at = torch.tensor(places)
        flat = streams.reshape(len(streams), rows * time, width)
        end = torch.log_softmax(read(flat[-1][at + ahead]), -1)
        parameters = [tensor.clone().requires_grad_() for pair in maps for tensor in pair]

        def divergences():
            found = []
            for stream in range(count):
                weight, bias = parameters[2 * stream], parameters[2 * stream + 1]
                x = flat[stream][at]
                lens = torch.log_softmax(read(x + x @ weight + bias), -1)
                found.append(torch.nn.functional.kl_div(lens, end, log_target=True, reduction="batchmean"))
            return torch.stack(found)

        names = [f"{stream}.{kind}" for stream in range(count) for kind in ("weight", "bias")]
        key = f"{family}.{ahead}"
        found = divergences()
        found.sum().backward()
        expected |= {f"{key}.places": at.to(torch.uint32), f"{key}.divergences": found.detach()}
        expected |= {f"{key}.maps.{name}": tensor.detach().clone() for name, tensor in zip(names, parameters)}
        expected |= {f"{key}.grad.{name}": tensor.grad.clone() for name, tensor in zip(names, parameters)}
        optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0)
        for _ in range(STEPS):
            optimizer.zero_grad()
            divergences().sum().backward()
            optimizer.step()
        expected |= {f"{key}.adamw.{name}": tensor.detach().clone() for name, tensor in zip(names, parameters)}

save_file({name: tensor.contiguous() for name, tensor in expected.items()}, HERE / "lens.safetensors")
print(f"{len(expected)} tensors, {sum(t.nbytes for t in expected.values()) / 1e6:.2f} MB")
