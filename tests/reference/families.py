"""Makes the fixtures in tests/reference/families: small random decoders and what transformers says of each.

    pip install torch transformers safetensors
    python tests/reference/families.py              # all of them
    python tests/reference/families.py gemma2 opt   # some of them

The weights are float32. Everything expected is computed in float64 from those weights, also what transformers does
in float32 whatever the model's type (norms, softmax, rotary angles), so that a test measures only our own rounding.

Each folder holds

    config.json           as `save_pretrained` writes it (`rope_parameters`, `layer_types`, `dtype`)
    config.old.json       the same model with the keys of the family's published files (`rope_theta`, `torch_dtype`)
    model.safetensors     as `save_pretrained` writes it: float32, tied weights once, published names
    reference.safetensors what is expected, with these tensors:

        ids               u32 (rows, time): the batch, without padding; no special id among them
        weights           f32 (rows, time - 1): of the loss at place t, which predicts ids[t + 1]; 0, 0.3 or 1
        logits            f32 (rows, time, vocabulary)
        loss              f64 (1): sum of weight * cross entropy / sum of weight
        grad.NAME         f32: gradient of the loss by the parameter NAME; a tied weight has one, of both its uses
        adamw.NAME        f32: the parameter after 20 steps of AdamW on the same batch: lr 1e-3, betas 0.9 and 0.999,
                          eps 1e-8, decoupled decay 0.1 of parameters with two dimensions or more, else 0; no clipping
        adamw_losses      f64 (20): the loss before each of the steps, so that the first is `loss`
        null.NAME         u8, like the parameter; only where some elements are 1: those cannot change the output,
                          since they add the same to all attention scores of a query (key biases that are not rotated).
                          Their gradient is 0 but for rounding, which AdamW magnifies: leave them out of a comparison
                          of parameters after AdamW.
        float32           f64 (5): how far PyTorch's own float32 is from all this: largest difference over the largest
                          value of logits, loss, the worst gradient, the worst parameter and loss after AdamW
        greedy_prompts    u32 (rows, 5)
        greedy            u32 (rows, 12): what greedy decoding with the cache says next, never stopping

A run checks that the key settings of each family change its logits, that gradients are those of the float64 function
(finite differences), that greedy decoding does not hang on rounding, and that both configs read back in float32 agree.
"""

import argparse
import json
import shutil
import tempfile
import warnings
import zlib
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM

OUT = Path(__file__).parent / "families"
ROWS, TIME, PROMPT, NEW, STEPS = 3, 13, 5, 12, 20
ROTARY = ("rope_theta", "rope_scaling")
LLAMA = dict(
    vocab_size=71, hidden_size=24, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=40, bos_token_id=1, eos_token_id=2,
)
GEMMA = LLAMA | dict(pad_token_id=0, eos_token_id=1, bos_token_id=2, vocab_size=73)
NEOX = LLAMA | dict(bos_token_id=0, eos_token_id=0, vocab_size=67)


def rope(theta, **more):
    return {"rope_type": "default", "rope_theta": theta} | more


# The config class and its settings; `seed`: one for which the checks hold; `old`: how config.old.json differs beyond
# what `old_config` does for all (None: the key is absent, "null": it is null); `matters`: changes of settings, each of
# which must change the logits.
FAMILIES = {
    "gpt2": dict(
        kind="GPT2", seed=1, settings=dict(
            vocab_size=89, n_positions=20, n_embd=24, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0),
        old=dict(n_inner=None, dtype=None, tie_word_embeddings=None, n_ctx=20),
        matters=[dict(activation_function="gelu"), dict(n_head=2)],
    ),
    "gpt2-distil": dict(
        kind="GPT2", settings=dict(
            vocab_size=61, n_positions=20, n_embd=24, n_layer=3, n_head=4, n_inner=40, tie_word_embeddings=False,
            bos_token_id=0, eos_token_id=0),
        old=dict(dtype=None, n_ctx=20), matters=[dict(layer_norm_epsilon=1e-3)],
    ),
    "phi": dict(
        kind="Phi", settings=LLAMA | dict(
            vocab_size=61, hidden_size=36, num_attention_heads=3, intermediate_size=50, qk_layernorm=False,
            rope_parameters=rope(100.0, partial_rotary_factor=0.5), bos_token_id=None, eos_token_id=None),
        old=dict(num_key_value_heads="null"),
        matters=[dict(rope_parameters=rope(100.0, partial_rotary_factor=1.0)),
                 dict(rope_parameters=rope(10000.0, partial_rotary_factor=0.5)), dict(hidden_act="gelu")],
    ),
    "phi-gqa": dict(
        kind="Phi", settings=LLAMA | dict(
            vocab_size=65, hidden_size=32, num_key_value_heads=2, intermediate_size=45,
            rope_parameters=rope(50.0, partial_rotary_factor=0.5), bos_token_id=None, eos_token_id=None),
        matters=[dict(rope_parameters=rope(10000.0, partial_rotary_factor=0.5))],
    ),
    "gemma": dict(
        kind="Gemma", seed=7, settings=GEMMA | dict(
            num_attention_heads=3, num_key_value_heads=1, head_dim=10, rope_parameters=rope(100.0)),
        # "gelu" is what the published files say and not what they mean.
        old=dict(tie_word_embeddings=None, use_bidirectional_attention=None, hidden_act="gelu"),
        matters=[dict(rope_parameters=rope(10000.0)), dict(hidden_act="silu"), dict(rms_norm_eps=1e-2)],
    ),
    "gemma2": dict(
        kind="Gemma2", seed=2, settings=GEMMA | dict(
            num_hidden_layers=3, num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=5, sliding_window=5,
            attn_logit_softcapping=5.0, final_logit_softcapping=3.0, rope_parameters=rope(100.0)),
        old=dict(tie_word_embeddings=None, use_bidirectional_attention=None, layer_types=None,
                 hidden_act="gelu_pytorch_tanh", cache_implementation="hybrid"),
        matters=[dict(query_pre_attn_scalar=8), dict(sliding_window=6), dict(sliding_window=4),
                 dict(attn_logit_softcapping=None), dict(final_logit_softcapping=None),
                 dict(layer_types=["full_attention", "sliding_attention", "full_attention"])],
    ),
    "gemma3": dict(
        kind="Gemma3Text", seed=8, settings=GEMMA | dict(
            num_hidden_layers=3, num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=6, sliding_window=5,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={"sliding_attention": rope(30.0),
                             "full_attention": rope(300.0, rope_type="linear", factor=4.0)}),
        old=dict(tie_word_embeddings=None, use_bidirectional_attention=None, layer_types=None,
                 _sliding_window_pattern=None, sliding_window_pattern=2, cache_implementation="hybrid",
                 rope_theta=300.0, rope_local_base_freq=30.0, rope_scaling={"factor": 4.0, "rope_type": "linear"}),
        matters=[dict(query_pre_attn_scalar=8), dict(sliding_window=6), dict(sliding_window=4),
                 dict(rope_parameters={"sliding_attention": rope(30.0), "full_attention": rope(300.0)}),
                 dict(rope_parameters={"sliding_attention": rope(300.0),
                                       "full_attention": rope(300.0, rope_type="linear", factor=4.0)}),
                 dict(layer_types=["sliding_attention"] * 3)],
    ),
    "llama": dict(
        kind="Llama", settings=LLAMA | dict(num_key_value_heads=4, rope_parameters=rope(10000.0)),
        # As in Llama 2: neither the base of the angles nor the width of a head is there.
        old=dict(rope_theta=None, head_dim=None, attention_bias=None, attention_dropout=None, mlp_bias=None,
                 pretraining_tp=1),
        matters=[dict(rope_parameters=rope(500.0)), dict(rms_norm_eps=1e-2)],
    ),
    "llama3": dict(
        kind="Llama", seed=2, settings=LLAMA | dict(
            hidden_size=48, num_hidden_layers=2, num_key_value_heads=2, tie_word_embeddings=True,
            max_position_embeddings=64, intermediate_size=33, vocab_size=67,
            rope_parameters=rope(300.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                 original_max_position_embeddings=48)),
        matters=[dict(rope_parameters=rope(300.0)),
                 dict(rope_parameters=rope(300.0, rope_type="linear", factor=8.0)),
                 dict(rope_parameters=rope(300.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                           high_freq_factor=4.0, original_max_position_embeddings=40))],
    ),
    "llama-bias": dict(
        kind="Llama", seed=1, settings=LLAMA | dict(
            num_key_value_heads=2, attention_bias=True, mlp_bias=True,
            rope_parameters=rope(200.0, rope_type="linear", factor=2.5)),
        old=dict(rope_scaling={"type": "linear", "factor": 2.5}),
        matters=[dict(rope_parameters=rope(200.0))],
    ),
    "mistral": dict(
        kind="Mistral", seed=1, settings=LLAMA | dict(
            num_hidden_layers=3, num_key_value_heads=2, head_dim=10, sliding_window=5, rope_parameters=rope(300.0)),
        matters=[dict(sliding_window=None), dict(sliding_window=6), dict(sliding_window=4)],
    ),
    "qwen2": dict(
        kind="Qwen2", settings=LLAMA | dict(
            num_hidden_layers=3, num_key_value_heads=2, tie_word_embeddings=True, use_sliding_window=False,
            max_window_layers=1, rope_parameters=rope(1000.0)),
        # A window that is there and not used.
        old=dict(layer_types=None, sliding_window=5),
        matters=[dict(use_sliding_window=True, sliding_window=5), dict(rope_parameters=rope(10000.0))],
    ),
    "qwen3": dict(
        kind="Qwen3", settings=LLAMA | dict(
            num_attention_heads=3, num_key_value_heads=1, head_dim=14, tie_word_embeddings=False,
            rope_parameters=rope(1000.0)),
        old=dict(layer_types=None, sliding_window="null"),
        matters=[dict(rms_norm_eps=1e-2), dict(rope_parameters=rope(100.0))],
    ),
    "smollm3": dict(
        kind="SmolLM3", seed=1, settings=LLAMA | dict(
            num_hidden_layers=3, num_key_value_heads=2, no_rope_layers=[1, 0, 1], no_rope_layer_interval=2,
            pad_token_id=0, rope_parameters=rope(2000.0)),
        old=dict(tie_word_embeddings=None),
        matters=[dict(no_rope_layers=[1, 1, 1]), dict(no_rope_layers=[0, 1, 0])],
    ),
    "opt": dict(
        kind="OPT", seed=3, settings=dict(
            vocab_size=79, hidden_size=24, num_hidden_layers=2, ffn_dim=37, num_attention_heads=4,
            max_position_embeddings=20, dropout=0.0, do_layer_norm_before=True, pad_token_id=1, bos_token_id=2,
            eos_token_id=2),
        old=dict(tie_word_embeddings=None, enable_bias=None, layer_norm_elementwise_affine=None,
                 activation_dropout=0.0, prefix="</s>"),
        matters=[dict(activation_function="gelu"), dict(num_attention_heads=3)],
    ),
    "gpt_neox": dict(
        kind="GPTNeoX", settings=NEOX | dict(
            hidden_size=32, num_attention_heads=2, intermediate_size=45, use_parallel_residual=True,
            hidden_act="gelu_new", rope_parameters=rope(100.0, partial_rotary_factor=0.25)),
        old=dict(attention_bias=None, attention_dropout=None, classifier_dropout=None, hidden_dropout=None),
        matters=[dict(use_parallel_residual=False), dict(hidden_act="gelu"),
                 dict(rope_parameters=rope(100.0, partial_rotary_factor=0.5))],
    ),
    "gpt_neox-sequential": dict(
        kind="GPTNeoX", settings=NEOX | dict(
            num_hidden_layers=3, use_parallel_residual=False, hidden_act="gelu",
            rope_parameters=rope(500.0, partial_rotary_factor=1.0)),
        old=dict(classifier_dropout=0.1),
        matters=[dict(use_parallel_residual=True), dict(hidden_act="gelu_new")],
    ),
}


class Double(TorchFunctionMode):
    """What asks for float32 gets float64: transformers asks for it in norms, softmax and rotary angles."""

    def __enter__(self):
        self.before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        return super().__enter__()

    def __exit__(self, *exception):
        torch.set_default_dtype(self.before)
        return super().__exit__(*exception)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        def widen(value):
            return torch.float64 if value is torch.float32 else value

        if function is torch.Tensor.float:
            function = torch.Tensor.double
        value = function(*map(widen, args), **{key: widen(value) for key, value in (kwargs or {}).items()})
        assert not isinstance(value, torch.Tensor) or value.dtype != torch.float32, function
        return value


def double(config, parameters):
    """The model of `config` with these parameters, in float64 from the first angle on."""
    with Double():
        model = model_class(config)(config).eval()
    named = published(model)
    assert named.keys() == parameters.keys(), (named.keys() ^ parameters.keys())
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(parameters[name])
    return model


def model_class(config):
    kind = type(config).__name__.removesuffix("Config").removesuffix("Text")
    return getattr(transformers, "GPT2LMHeadModel" if kind == "GPT2" else kind + "ForCausalLM")


def published(model):
    """The parameters by the names that files have: transformers renames the head of GPT-NeoX while it reads it."""
    head = "embed_out." if type(model).__name__.startswith("GPTNeoX") else "lm_head."
    return {name.replace("lm_head.", head): value for name, value in model.named_parameters()}


def make_config(family, **changes):
    config = getattr(transformers, family["kind"] + "Config")
    dropped = {key: 0.0 for key in ("resid_pdrop", "embd_pdrop", "attn_pdrop") if family["kind"] == "GPT2"}
    # A deep copy, since configs complete the dictionaries they are given.
    settings = json.loads(json.dumps(family["settings"] | dropped | changes))
    return config(**settings, attn_implementation="eager")


def randomise(model, family):
    """Every parameter far from its initial state, so that no part of the model is nearly nothing."""
    # Gemma's norms multiply by 1 + weight, and its look-ups by the root of the width.
    gemma = family["kind"].startswith("Gemma")
    centre, spread = (0.0, 0.22) if gemma else (1.0, 0.3 if model.config.tie_word_embeddings else 0.5)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape)
        if parameter.dim() == 1:
            norm = name.endswith("weight")
            value = centre + 0.2 * (2 * torch.rand(parameter.shape) - 1) if norm else 0.2 * noise
        elif any(part in name for part in ("embed", "wte", "wpe")):
            value = noise * spread
        else:
            # GPT-2 stores (in, out), all others (out, in).
            fan_in = parameter.shape[0 if family["kind"] == "GPT2" and "lm_head" not in name else 1]
            wide = any(part in name for part in ("q_proj", "k_proj", "c_attn", "query_key_value", "lm_head"))
            # Else a tied Gemma says its last token again and again.
            widest = family["kind"] == "Gemma" and any(part in name for part in ("o_proj", "down_proj"))
            value = noise * (2.5 if widest else 1.7 if wide else 1.2) / fan_in**0.5
        parameter.data.copy_(value)


def null(config, name, parameter):
    """1 for elements that change no attention: biases of keys, where they are not rotated."""
    mask = torch.zeros(parameter.shape, dtype=torch.uint8)
    kind = type(config).__name__
    if kind == "GPT2Config" and name.endswith("c_attn.bias"):
        mask.view(3, -1)[1] = 1
    elif kind == "OPTConfig" and name.endswith("k_proj.bias"):
        mask[:] = 1
    elif kind in ("PhiConfig", "GPTNeoXConfig"):
        width = config.hidden_size // config.num_attention_heads
        rotated = int(width * config.rope_parameters["partial_rotary_factor"])
        if name.endswith("k_proj.bias"):
            mask.view(-1, width)[:, rotated:] = 1
        elif name.endswith("query_key_value.bias"):
            mask.view(-1, 3, width)[:, 1, rotated:] = 1
    return mask


def old_config(family, config):
    """The config with the keys that the family's published files have."""
    rotary = config.pop("rope_parameters", None)
    changes = {"torch_dtype": config.pop("dtype"), "transformers_version": "4.40.0"}
    if rotary and "rope_theta" in rotary:
        scaling = {key: value for key, value in rotary.items() if key not in ("rope_theta", "partial_rotary_factor")}
        if family["kind"] == "GPTNeoX":
            changes |= {"rotary_emb_base": rotary["rope_theta"], "rotary_pct": rotary["partial_rotary_factor"]}
        else:
            plain = scaling["rope_type"] == "default"
            changes |= {"rope_theta": rotary["rope_theta"], "rope_scaling": None if plain else scaling}
            if "partial_rotary_factor" in rotary:
                changes["partial_rotary_factor"] = rotary["partial_rotary_factor"]
    config |= changes
    for key, value in family.get("old", {}).items():
        if value is None:
            config.pop("torch_dtype" if key == "dtype" else key, None)
        else:
            config[key] = None if value == "null" else value
    return dict(sorted(config.items()))


def weighted_loss(model, ids, weights):
    logits = model(input_ids=ids, use_cache=False).logits
    losses = cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return logits, (losses * weights.flatten()).sum() / weights.sum()


def adamw(model, ids, weights):
    """Trains the model in place and says the losses."""
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, foreach=False)
    losses = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = weighted_loss(model, ids, weights)[1]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64)


def read_back(folder, config_file):
    """The saved model in float32, by one of its two configs."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copy(folder / config_file, Path(place) / "config.json")
        shutil.copy(folder / "model.safetensors", place)
        return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, attn_implementation="eager").eval()


def gap(got, want):
    return (got.double() - want.double()).abs().max().item()


def in_float32(folder, ids, weights, expected, gradients, nulls, trained):
    """How far PyTorch's own float32 is from float64: what another float32 implementation may be measured by."""
    def share(got, want):
        return gap(got, want) / want.abs().max().item()

    single = read_back(folder, "config.json")
    logits, loss = weighted_loss(single, ids, weights)
    loss.backward()
    found = {key: value.grad for key, value in published(single).items()}
    counted = [key for key in gradients if key not in nulls or not nulls[key].all()]
    worst = max(share(found[key], gradients[key]) for key in counted)
    losses = adamw(single, ids, weights)
    kept = {key: (1 - nulls[key]) if key in nulls else 1 for key in trained}
    moved = max(gap(value.detach() * kept[key], trained[key] * kept[key]) / trained[key].abs().max().item()
                for key, value in published(single).items())
    drift = ((losses - expected["adamw_losses"]).abs() / expected["adamw_losses"]).max().item()
    return torch.tensor([share(logits, expected["logits"]), share(loss, expected["loss"][0]), worst, moved, drift],
                        dtype=torch.float64)


def make(name, show):
    family = FAMILIES[name]
    torch.manual_seed(zlib.crc32(name.encode()) + family.get("seed", 0))
    config = make_config(family)
    model = model_class(config)(config).float().eval()
    randomise(model, family)

    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.old.json").write_text(json.dumps(old_config(family, written), indent=2) + "\n")
    parameters = load_file(folder / "model.safetensors")
    if show:
        for key, value in parameters.items():
            print("   ", key, list(value.shape))

    # No special id in the batch: the padding row of an embedding gets no gradient of its look-ups.
    ids = torch.randint(3, config.vocab_size, (ROWS, TIME))
    weights = torch.tensor([0.0, 1.0, 0.3])[torch.randint(0, 3, (ROWS, TIME - 1))]
    assert len(weights.unique()) == 3
    with Double():
        reference = double(config, parameters)
        logits, loss = weighted_loss(reference, ids, weights.double())
        loss.backward()
    gradients = {key: value.grad.clone() for key, value in published(reference).items()}
    nulls = {key: mask for key, value in parameters.items() if (mask := null(config, key, value)).any()}
    smallest = min((gradient.abs().max().item(), key) for key, gradient in gradients.items()
                   if key not in nulls or not nulls[key].all())
    assert smallest[0] > 1e-4, smallest
    for key, gradient in gradients.items():
        # The nulls, and rows of embeddings that the batch does not touch, are all that has no gradient.
        rows = gradient.dim() == 2 and any(part in key for part in ("embed", "wte", "wpe"))
        nothing = (gradient.abs() < 1e-13) & ~((gradient == 0) & torch.tensor(rows))
        if family["kind"] != "OPT" or "fc" not in key:
            assert torch.equal(nothing, nulls.get(key, torch.zeros_like(nothing)).bool()), key

    # The gradient is that of a function without rounding to float32.
    direction = {key: torch.randn(value.shape, dtype=torch.float64) for key, value in parameters.items()}
    slope = sum((gradients[key] * direction[key]).sum().item() for key in gradients)
    ends = []
    for step in (1e-6, -1e-6):
        moved = {key: value.double() + step * direction[key] for key, value in parameters.items()}
        with Double(), torch.no_grad():
            ends.append(weighted_loss(double(config, moved), ids, weights.double())[1].item())
    difference = abs((ends[0] - ends[1]) / 2e-6 - slope)
    assert difference < 1e-7 * max(1.0, abs(slope)), (difference, slope)

    for changes in family["matters"]:
        with Double(), torch.no_grad():
            other = double(make_config(family, **changes), parameters)(input_ids=ids, use_cache=False).logits
        assert gap(other, logits) > 1e-3, (changes, gap(other, logits))

    prompts = torch.randint(3, config.vocab_size, (ROWS, PROMPT))
    reference.generation_config.eos_token_id = None
    with Double(), torch.no_grad():
        text = reference.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=NEW, do_sample=False, eos_token_id=None,
            pad_token_id=0, use_cache=True)
        again = reference(input_ids=text[:, :-1], use_cache=False).logits[:, PROMPT - 1:]
    assert text.shape == (ROWS, PROMPT + NEW)
    greedy = text[:, PROMPT:]
    best = again.topk(2, -1)
    assert torch.equal(best.indices[..., 0], greedy), "the cache changes the text"
    margin = (best.values[..., 0] - best.values[..., 1]).min().item()
    assert margin > 5e-3, f"a greedy choice hangs on {margin}"
    assert len(greedy.unique()) > 9, "the text says little"

    with Double():
        trained = double(config, parameters)
        losses = adamw(trained, ids, weights.double())
    trained = {key: value.detach() for key, value in published(trained).items()}
    assert losses[-1] < losses[0]

    expected = {
        "ids": ids.to(torch.uint32), "weights": weights, "logits": logits.detach().float(),
        "loss": loss.detach().reshape(1), "adamw_losses": losses, "greedy_prompts": prompts.to(torch.uint32),
        "greedy": greedy.to(torch.uint32),
    }
    expected |= {f"grad.{key}": value.float() for key, value in gradients.items()}
    expected |= {f"adamw.{key}": value.float() for key, value in trained.items()}
    expected |= {f"null.{key}": value for key, value in nulls.items()}
    expected["float32"] = in_float32(folder, ids, weights, expected, gradients, nulls, trained)
    save_file({key: value.contiguous() for key, value in expected.items()}, folder / "reference.safetensors")

    # What float32 itself costs, by both configs.
    costs = {}
    for file in ("config.json", "config.old.json"):
        single = read_back(folder, file)
        with torch.no_grad():
            costs[file] = gap(single(input_ids=ids).logits, logits)
        assert costs[file] < 1e-5, (file, costs[file])
    single_losses = adamw(single, ids, weights)
    kept = {key: (1 - nulls[key]) if key in nulls else 1 for key in parameters}
    drift = max((gap(value * kept[key], trained[key] * kept[key]), key) for key, value in published(single).items())
    # An element whose gradient nearly cancels would go by the sign of rounding.
    assert drift[0] < 3e-6, drift
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert size < 350_000, size
    print(f"{name:20} {size // 1000:4} kB  |logits| {logits.abs().max():.1f}  loss {loss:.3f} -> {losses[-1]:.3f}  "
          f"least gradient {smallest[0]:.1e} {smallest[1]}  greedy margin {margin:.1e}, {len(greedy.unique())} ids  "
          f"float32: logits {max(costs.values()):.1e}, adamw loss {gap(single_losses, losses):.1e}, "
          f"parameters {drift[0]:.1e} {drift[1]}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("family", nargs="*", help="which to make; all without any")
    arguments.add_argument("--names", action="store_true", help="print the parameters and their shapes")
    arguments = arguments.parse_args()
    unknown = [name for name in arguments.family if name not in FAMILIES]
    if unknown:
        raise SystemExit(f"no family {unknown}; there are {', '.join(FAMILIES)}")
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name in arguments.family or FAMILIES:
        make(name, arguments.names)


if __name__ == "__main__":
    main()
