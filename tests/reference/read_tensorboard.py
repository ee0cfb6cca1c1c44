"""Opens a run in TensorBoard's own reader and holds its curves against the run's journal.

    pip install tensorboard
    python tests/reference/read_tensorboard.py runs/ID

For a person to run: the tests read the files with a reader of our own.
"""

import json
import math
import sys
from pathlib import Path

from tensorboard.backend.event_processing import event_accumulator

STEP = {
    "loss": "loss",
    "loss/label": "loss_label",
    "loss/rationale": "loss_rationale",
    "learning_rate": "learning_rate",
    "gradient_norm": "gradient_norm",
    "tokens_per_second": "tokens_per_second",
}
EVALUATION = ["accuracy", "loss", "loss_label", "loss_rationale"]


def journal(path):
    """The curves that a journal tells, without the steps that a resume made void: {tag: [(step, value)]}."""
    kept = []
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] in ("step", "evaluation"):
            kept.append(entry)
        elif entry["event"] == "resume":
            kept = [other for other in kept if other["step"] <= entry["step"]]
    curves = {}
    for entry in kept:
        if entry["event"] == "step":
            values = {tag: entry[key] for tag, key in STEP.items()}
        else:
            values = {f"{entry['split']}/{key}": entry[key] for key in EVALUATION}
        for tag, value in values.items():
            if value is not None:
                curves.setdefault(tag, []).append((entry["step"], value))
    return curves


def main():
    run = Path(sys.argv[1])
    # 0: keep every point.
    reader = event_accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    want = journal(run / "journal.jsonl")
    tags = reader.Tags()["scalars"]
    assert sorted(tags) == sorted(want), (sorted(tags), sorted(want))
    for tag in tags:
        got = [(event.step, event.value) for event in reader.Scalars(tag)]
        assert [step for step, _ in got] == [step for step, _ in want[tag]], tag
        for (step, value), (_, wanted) in zip(got, want[tag]):
            assert math.isclose(value, wanted, rel_tol=1e-6, abs_tol=1e-30), (tag, step, value, wanted)
        print(f"{tag}: {len(got)} points, the last {got[-1]}")


if __name__ == "__main__":
    main()
