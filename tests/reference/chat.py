"""Conversations as transformers renders and tokenizes them.

    pip install transformers
    python tests/reference/chat.py

The templates are our own, in the manner of those that published students have. Each folder is a student's tokenizer with
its template; expected.json has what apply_chat_template makes of a few conversations.
"""

import datetime
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = Path(__file__).parent / "chat"

TEXTS = [
    "Question: what would you use to dry a wet floor?",
    "Choices: A: mop B: spoon C: lamp",
    "Answer: A Because: a mop soaks the water up, and a spoon does not.",
    "You answer questions about the house. Be short.",
    "the quick brown fox jumps over the lazy dog 0123456789 <|>[]/_ Today is 26 Jul 2024 system user assistant model",
] * 3

# Whatever the day: what a run asks must not change over night, and the template of the Llama kind asks for the day.
class Day(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


chat_template_utils.datetime = Day

CHATML = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a helper.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) or message.role == 'assistant' and not message.tool_calls %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

THINKING = """{%- set ns = namespace(last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and message.content is string and not (message.content.startswith('<tool>')) %}
        {%- set ns.last = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
        {% generation %}{{- message.content.lstrip('\\n') + '<|im_end|>\\n' }}{% endgeneration %}

    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""

HEADERS = """{{- bos_token }}
{%- if not day is defined %}
    {%- if strftime_now is defined %}{%- set day = strftime_now("%d %b %Y") %}{%- else %}{%- set day = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today is " + day + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

TURNS = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('There is no system role') }}{% endif %}
{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Roles must take turns: user/assistant/user/assistant/...') }}
{% endif %}
{% if (message['role'] == 'assistant') %}
{% set role = 'model' %}
{% else %}
{% set role = message['role'] %}
{% endif %}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{% endfor %}
{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}
"""

BRACKETS = """{% if messages[0]['role'] == 'system' %}{% set said = messages[0]['content'] %}{% set rest = messages[1:] %}
{%- else %}{% set said = '' %}{% set rest = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in rest %}
    {%- if message['role'] == 'user' %}
        {%- if loop.first and said %}{{- '[INST] ' + said + '\\n\\n' + message['content'] + ' [/INST]' }}
        {%- else %}{{- '[INST] ' + message['content'] + ' [/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'].strip() + eos_token }}
    {%- else %}
        {{- raise_exception('Only user and assistant roles are known!') }}
    {%- endif %}
{%- endfor %}
"""

SPACED = BRACKETS.replace(" + eos_token", " + ' ' + eos_token")

STRIPPED = """{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""

# name: template, the tokenizer's kind, special tokens (bos and eos first), whether the special tokens swallow what
# follows, whether there is a system role.
STUDENTS = {
    "chatml": (CHATML, "bytes", ["<|endoftext|>", "<|im_end|>", "<|im_start|>"], False, True),
    "thinking": (THINKING, "bytes", ["<|endoftext|>", "<|im_end|>", "<|im_start|>"], False, True),
    "headers": (HEADERS, "bytes", ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"], False, True),
    "turns": (TURNS, "first", ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"], False, False),
    "brackets": (BRACKETS, "prepend", ["<s>", "</s>"], False, True),
    "brackets-first": (BRACKETS, "first", ["<s>", "</s>", "[INST]", "[/INST]"], False, True),
    "spaced": (SPACED, "prepend", ["<s>", "</s>"], False, True),
    "stripped": (STRIPPED, "prepend", ["<s>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"], True, True),
}

USER = "Question: what dries a floor?\nChoices: A: mop B: the <|im_end|> lamp </s> [/INST] 🧽"
ANSWERS = {
    "none": ("Answer:", " A", ""),
    "post": ("Answer:", " A", "\nBecause: a mop soaks the water up."),
    "pre": ("Because:", " a mop soaks the water up.", "\nAnswer: A"),
}


def tokenizer(kind, special, swallows):
    made = Tokenizer(models.BPE(unk_token=None if kind == "bytes" else "<unk>", fuse_unk=kind != "bytes"))
    tokens = [AddedToken(token, special=True, normalized=False, rstrip=swallows and token.startswith("<|")) for token in special]
    if kind == "bytes":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        alphabet = [chr(c) for c in range(33, 127)] + ["\n"]
        tokens = [AddedToken("<unk>", special=True, normalized=False)] + tokens
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=380, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False))
    # Words were learnt one by one; a text is cut without looking for words, as SentencePiece does.
    if kind == "prepend":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        made.pre_tokenizer = None
    if kind == "first":
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return made


def main():
    for name, (template, kind, special, swallows, has_system) in STUDENTS.items():
        folder = HERE / name
        folder.mkdir(parents=True, exist_ok=True)
        made = tokenizer(kind, special, swallows)
        made.save(str(folder / "tokenizer.json"), pretty=False)
        config = {"bos_token": special[0], "eos_token": special[1], "chat_template": template}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
        reader = PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), bos_token=special[0], eos_token=special[1], chat_template=template
        )
        cases = []
        for system in [None] + (["Be short."] if has_system else []):
            for placement, (lead, first, rest) in ANSWERS.items():
                # What the data spells is text to us; transformers would take it for the template's own, so it is asked
                # about text that spells nothing.
                user = USER
                for token in special + ["<unk>"]:
                    user = user.replace(token, "")
                asked = [{"role": "system", "content": system}] if system else []
                asked.append({"role": "user", "content": user})
                said = asked + [{"role": "assistant", "content": lead + first + rest}]
                text = reader.apply_chat_template(said, tokenize=False)
                ids = reader.apply_chat_template(said, tokenize=True, return_dict=False)
                assert ids == reader(text, add_special_tokens=False)["input_ids"]
                prompt = reader.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
                cases.append({"system": system, "placement": placement, "user": user, "text": text, "ids": ids, "prompt": prompt})
        (folder / "expected.json").write_text(json.dumps(cases, ensure_ascii=True, indent=1) + "\n")
        print(name, made.get_vocab_size(), len(cases), "conversations")


main()
