"""Tiny SentencePiece models and the ids that SentencePiece itself gives.

    pip install sentencepiece
    python tests/reference/pieces.py

Three kinds: byte pairs as Llama 2 has them (a space of its own before the text, bytes for what is unknown), byte pairs as
Gemma has them (no such space, symbols of the user's), and Unigram with the usual normalization.
"""

import json
from pathlib import Path

import sentencepiece as spm

HERE = Path(__file__).parent / "pieces"

SENTENCES = [
    "The heron stands in the shallow water and waits for a small fish.",
    "Why does the kettle whistle? Because the steam has nowhere else to go.",
    "A loaf of bread, two eggs and 250 grams of flour; nothing else is needed.",
    "She put the ladder against the barn, climbed up, and found the owl asleep.",
    "Question: what would you use to dry a wet floor? Answer: a mop.",
    "The café on the corner closes at 18:30, naïve tourists arrive at 19:00.",
    "Rivers bend where the ground is soft, and the bends wander over the years.",
    "He counted: one, two, three, four … and then he lost the thread.",
    "Glass is made of sand, soda and lime, and it is melted in a furnace.",
    "雨が降ると川の水が増える。 猫は屋根の上で眠る。",
    "An answer is only as good as the question that it belongs to.",
    "Wool keeps the sheep warm, and then it keeps the shepherd warm.",
]

TEXTS = [
    "The heron waits.",
    " B",
    "\nAnswer:",
    "Question: why?\nChoices: A: sand B: wool",
    "two  spaces,   three",
    "\ta tab\tand\t\ttwo",
    "naïve café, e\u0301 and é",
    "👩‍🔬 looked at 🏳️‍🌈 and 🇫🇷",
    "雨が降る。 日本語 text",
    "नमस्ते दुनिया",
    "العربية ١٢٣",
    "ﬁne ①②③ ｆｕｌｌ",
    "line\r\nbreaks\n\n",
    " both ends ",
    "   ",
    "",
    "<s> </s> <unk> [SEP]",
    "x<sep>y<sep><sep>z",
    "zzzzqqqq§¶",
    "1234567 and 3.14",
    "a\u00a0b\u200bc\u2028d",
]

KINDS = {
    "llama": dict(
        model_type="bpe", vocab_size=520, byte_fallback=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True,
    ),
    "gemma": dict(
        model_type="bpe", vocab_size=520, byte_fallback=True, normalization_rule_name="identity",
        remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True, add_dummy_prefix=False,
        user_defined_symbols=["<sep>", "<start_of_turn>"],
    ),
    "unigram": dict(model_type="unigram", vocab_size=220, character_coverage=1.0, control_symbols=["<turn>"]),
}


def main():
    HERE.mkdir(exist_ok=True)
    for name, settings in KINDS.items():
        with open(HERE / f"{name}.model", "wb") as model:
            spm.SentencePieceTrainer.train(
                sentence_iterator=iter(SENTENCES * 4), model_writer=model, minloglevel=2, num_threads=1,
                hard_vocab_limit=False, **settings,
            )
        processor = spm.SentencePieceProcessor(model_file=str(HERE / f"{name}.model"))
        cases = [{"text": text, "ids": processor.encode(text), "decoded": processor.decode(processor.encode(text))} for text in TEXTS]
        whole = {"size": processor.get_piece_size(), "cases": cases}
        (HERE / f"{name}.json").write_text(json.dumps(whole, ensure_ascii=True, indent=1) + "\n")
        print(name, processor.get_piece_size(), (HERE / f"{name}.model").stat().st_size, "bytes")


main()
