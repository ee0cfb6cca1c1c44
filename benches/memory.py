"""The memory that a fine-tune takes, against what `student show` said it would take.

    cargo build --release && python3 benches/memory.py target/release/afterthought --tokenizer FOLDER [llama gemma ...]

Makes random students (numpy writes their weights), a data set whose sequences all fill `--length` tokens, and trains a
few steps of each case. What is measured is the largest resident memory of the process before the last step, so without the
checkpoint and the last evaluation. FOLDER holds a tokenizer.json with an end of text at id 2, such as Mistral's.
"""

import argparse
import json
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import numpy

STEPS = 4
COMMON = dict(max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, torch_dtype="float32")
STUDENTS = {
    "gpt2": dict(model_type="gpt2", vocab_size=32000, n_embd=768, n_layer=12, n_head=12, n_positions=1024, **COMMON),
    "llama": dict(
        model_type="llama", vocab_size=32000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12,
        num_attention_heads=12, num_key_value_heads=4, rms_norm_eps=1e-5, tie_word_embeddings=True, **COMMON),
    "qwen3": dict(
        model_type="qwen3", vocab_size=32000, hidden_size=512, intermediate_size=1536, num_hidden_layers=12, head_dim=64,
        num_attention_heads=8, num_key_value_heads=4, rms_norm_eps=1e-6, tie_word_embeddings=False, **COMMON),
    "gemma2": dict(
        model_type="gemma2", vocab_size=65536, hidden_size=512, intermediate_size=2048, num_hidden_layers=8, head_dim=64,
        num_attention_heads=8, num_key_value_heads=4, rms_norm_eps=1e-6, query_pre_attn_scalar=64,
        attn_logit_softcapping=50.0, final_logit_softcapping=30.0, sliding_window=64, **COMMON),
    "phi": dict(
        model_type="phi", vocab_size=32000, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
        num_attention_heads=12, partial_rotary_factor=0.5, layer_norm_eps=1e-5, **COMMON),
}
ADAPTERS = {
    "whole": None,
    "adapters, rank 8, all maps": {"rank": 8},
    "adapters, rank 8, q_proj and v_proj": {"rank": 8, "targets": ["q_proj", "v_proj"]},
}


def shapes(config):
    """The published tensors of a student."""
    kind = config["model_type"]
    if kind == "gpt2":
        width = config["n_embd"]
        yield "transformer.wte.weight", (config["vocab_size"], width)
        yield "transformer.wpe.weight", (config["n_positions"], width)
        for layer in range(config["n_layer"]):
            for name, shape in {"ln_1": (width,), "attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width),
                                "ln_2": (width,), "mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width)}.items():
                yield f"transformer.h.{layer}.{name}.weight", shape
                yield f"transformer.h.{layer}.{name}.bias", shape[-1:]
        yield "transformer.ln_f.weight", (width,)
        yield "transformer.ln_f.bias", (width,)
        return
    width, inner = config["hidden_size"], config["intermediate_size"]
    heads, kv_heads = config["num_attention_heads"], config.get("num_key_value_heads", config["num_attention_heads"])
    head = config.get("head_dim", width // heads)
    maps = {"self_attn.q_proj": (heads * head, width), "self_attn.k_proj": (kv_heads * head, width),
            "self_attn.v_proj": (kv_heads * head, width), "self_attn.o_proj": (width, heads * head),
            "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}
    norms, biased = {"input_layernorm": width, "post_attention_layernorm": width}, False
    if kind == "qwen3":
        norms |= {"self_attn.q_norm": head, "self_attn.k_norm": head}
    if kind == "gemma2":
        norms |= {"pre_feedforward_layernorm": width, "post_feedforward_layernorm": width}
    if kind == "phi":
        renamed = {"self_attn.o_proj": "self_attn.dense", "mlp.up_proj": "mlp.fc1", "mlp.down_proj": "mlp.fc2"}
        maps = {renamed.get(name, name): shape for name, shape in maps.items() if "gate" not in name}
        norms, biased = {"input_layernorm": width}, True
    yield "model.embed_tokens.weight", (config["vocab_size"], width)
    for layer in range(config["num_hidden_layers"]):
        for name, shape in maps.items():
            yield f"model.layers.{layer}.{name}.weight", shape
            if biased:
                yield f"model.layers.{layer}.{name}.bias", shape[:1]
        for name, size in norms.items():
            yield f"model.layers.{layer}.{name}.weight", (size,)
            if biased:
                yield f"model.layers.{layer}.{name}.bias", (size,)
    last = "model.final_layernorm" if biased else "model.norm"
    yield f"{last}.weight", (width,)
    if biased:
        yield f"{last}.bias", (width,)
    if not config.get("tie_word_embeddings", kind == "gemma2"):
        yield "lm_head.weight", (config["vocab_size"], width)
        if biased:
            yield "lm_head.bias", (config["vocab_size"],)


def write_student(folder, config, tokenizer):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(tokenizer / "tokenizer.json", folder)
    header, at = {}, 0
    for name, shape in shapes(config):
        size = 4 * int(numpy.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    random = numpy.random.default_rng(0)
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes(config):
            is_norm = len(shape) == 1 and name.endswith("weight")
            values = numpy.ones(shape) if is_norm else 0.02 * random.standard_normal(shape, dtype="float32")
            file.write(values.astype("<f4").tobytes())


def write_data(folder):
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text("name: long\nsplits: {train: train.jsonl, validation: validation.jsonl}\n")
    choices = [{"label": label, "text": text} for label, text in (("A", "red"), ("B", "blue"))]
    row = {"question": "Which colour?", "choices": choices, "answer": "A", "rationale": "because the sky is wide and " * 400}
    for split, rows in (("train", 64), ("validation", 1)):
        lines = (json.dumps({"id": f"{split}-{place}"} | row) for place in range(rows))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


def said(program, project, student, options, lora):
    command = [program, "-C", project, "student", "show", student, "--batch", options.batch, "--length", options.length]
    if lora:
        command += ["--lora", lora["rank"], *(["--targets", ",".join(lora["targets"])] if "targets" in lora else [])]
    shown = subprocess.run([*map(str, command), "--json"], capture_output=True, text=True, check=True)
    return json.loads(shown.stdout)


def measured(program, project, student, options, lora):
    """The largest resident memory, in bytes, until the step before the last is done."""
    run = {"dataset": "long", "student": str(student), "evaluation": {"answer": "likelihood", "every": "end"},
           "rationale": {"placement": "post"},
           "training": {"steps": STEPS, "batch_size": options.batch, "max_length": options.length, "lora": lora}}
    (project / "run.yaml").write_text(json.dumps(run))
    log = open(project / "log", "w+")
    process = subprocess.Popen([program, "-C", project, "train", project / "run.yaml", "--json"], stdout=log, stderr=log)
    try:
        while process.poll() is None:
            journals = list(project.glob("runs/*/journal.jsonl"))
            text = journals[0].read_text() if journals else ""
            if f'"step":{STEPS - 1},' in text.replace(" ", "") and '"loss"' in text:
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])
            time.sleep(0.05)
        log.seek(0)
        sys.exit(f"the run of {student} ended early:\n{log.read()}")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        shutil.rmtree(project / "runs", ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("students", nargs="*", help=f"of {', '.join(STUDENTS)}; all without any")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    options = parser.parse_intermixed_args()
    program = options.program.resolve()
    print(f"| student | {options.batch} x {options.length} tokens | said | measured | said / measured |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        project = pathlib.Path(folder)
        write_data(project / "datasets/long")
        for name in options.students or STUDENTS:
            student = project / name
            write_student(student, STUDENTS[name], options.tokenizer)
            for what, lora in ADAPTERS.items():
                if lora and "targets" in lora and name == "gpt2":
                    lora = lora | {"targets": ["c_attn"]}
                    what = "adapters, rank 8, c_attn"
                shown = said(program, project, student, options, lora)
                got = measured(program, project, student, options, lora)
                size = f"{shown['parameters'] / 1e6:.0f}M"
                print(f"| {name} {size} | {what} | {shown['training_bytes'] / 2**30:.2f} GiB | {got / 2**30:.2f} GiB | "
                      f"{shown['training_bytes'] / got:.2f} |", flush=True)
            shutil.rmtree(student)


if __name__ == "__main__":
    main()
