"""Makes tests/reference/captum_methods.json: what captum says of small decoders, method by method.

    pip install torch transformers captum safetensors
    python tests/reference/captum_methods.py

The decoders are those of tests/reference/gpt2 and tests/reference/families; everything is computed in float64. What captum has no
method for (leaving a unit out, attention of the last place) is computed with the model itself.
"""

import json
import warnings
from pathlib import Path

import torch
from captum.attr import FeatureAblation, InputXGradient, IntegratedGradients, LayerIntegratedGradients, Saliency
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
FOLDERS = {"gpt2": HERE / "gpt2"} | {
    name: HERE / "families" / name for name in ("llama", "mistral", "phi-gqa", "qwen3", "opt", "gpt_neox")
}
SEQUENCE = [5, 17, 63, 3, 42, 7, 60, 21, 11]
# The places that are scored, and the spans that occlusion takes away together.
RANGE, UNITS = (2, 8), [[2], [3, 4], [5, 6, 7]]
LABEL, OTHER = [37, 12], [25, 12]
# Words drawn by the caller, one list for each draw, for the places that are scored.
RANDOM = [[9, 30, 44, 12, 50, 8], [33, 21, 6, 57, 14, 40]]
STEPS = 20
warnings.filterwarnings("ignore")


def cases(folder):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    words = model.get_input_embeddings()
    first, end = RANGE
    ids = torch.tensor([SEQUENCE])
    vectors = words(ids).detach()

    def log_p(inputs, continuation):
        """Log p of a continuation after word vectors (n, time, width)."""
        fed = words(torch.tensor([continuation[:-1]])).expand(inputs.shape[0], -1, -1)
        logits = model(inputs_embeds=torch.cat([inputs, fed], 1)).logits
        read = torch.log_softmax(logits[:, inputs.shape[1] - 1:], -1)
        return sum(read[:, place, token] for place, token in enumerate(continuation))

    targets = {
        "label": lambda inputs: log_p(inputs, LABEL),
        "contrast": lambda inputs: log_p(inputs, LABEL) - log_p(inputs, OTHER),
    }
    mean = words.weight.mean(0).detach()

    def beginning(own):
        """The sequence with its scored places replaced."""
        out = vectors.clone()
        out[0, first:end] = own
        return out

    width = vectors.shape[-1]
    starts = {
        "zero": [torch.zeros(end - first, width, dtype=torch.float64)],
        "pad": [words(torch.tensor([1])).expand(end - first, -1).detach()],
        "mean": [mean.expand(end - first, -1)],
        "random": [words(torch.tensor(draw)).detach() for draw in RANDOM],
    }
    found = {}
    for target, function in targets.items():
        own = {"value": function(vectors).item()}
        for name, draws in starts.items():
            integrated, ablated = [], []
            for draw in draws:
                begin = beginning(draw)
                scores = IntegratedGradients(function).attribute(vectors, begin, n_steps=STEPS, method="gausslegendre")
                integrated.append(scores[0, first:end].sum(-1))
                # Every number of a unit is one feature, and so is all that is not scored.
                mask = torch.zeros_like(vectors, dtype=torch.long)
                for number, unit in enumerate(UNITS):
                    mask[0, unit] = number + 1
                scores = FeatureAblation(function).attribute(vectors, begin, feature_mask=mask)
                ablated.append(torch.stack([scores[0, unit[0], 0] for unit in UNITS]))
            own[f"integrated.{name}"] = torch.stack(integrated).mean(0).tolist()
            own[f"occlusion.{name}"] = torch.stack(ablated).mean(0).tolist()
        own["gradient_input"] = InputXGradient(function).attribute(vectors)[0, first:end].sum(-1).tolist()
        gradient = Saliency(function).attribute(vectors, abs=False)
        own["gradient_norm"] = gradient[0, first:end].norm(dim=-1).tolist()
        own["leave_one_out"] = [
            own["value"] - function(words(torch.tensor([[i for p, i in enumerate(SEQUENCE) if p not in unit]]))).item()
            for unit in UNITS
        ]
        found[target] = own
    # The same by captum's hook on the embedding layer, as most people call it.
    def log_p_of_ids(inputs):
        return torch.log_softmax(model(input_ids=inputs).logits[:, -1], -1)[:, LABEL[0]]

    layer = LayerIntegratedGradients(log_p_of_ids, words)
    short = layer.attribute(ids, baselines=torch.ones_like(ids), n_steps=STEPS, method="gausslegendre")
    found["layer_integrated.pad"] = short[0].sum(-1).tolist()
    seen = model(input_ids=ids, output_attentions=True).attentions
    found["attention"] = [weights[0, :, -1].tolist() for weights in seen]
    return found


if __name__ == "__main__":
    out = {
        "sequence": SEQUENCE, "range": RANGE, "units": UNITS, "label": LABEL, "other": OTHER, "random": RANDOM, "steps": STEPS,
        "cases": {name: cases(folder) for name, folder in FOLDERS.items()},
    }
    (HERE / "captum_methods.json").write_text(json.dumps(out) + "\n")
    print({name: round(case["label"]["value"], 4) for name, case in out["cases"].items()})
