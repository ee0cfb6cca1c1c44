"""Opens attributions in Inseq and holds tokens and scores against what `attribute --json` says of the same example.

    pip install inseq
    afterthought attribute last toyworld --id tr-0003 --json > plain.json
    afterthought attribute last toyworld --id tr-0003 --format inseq --out inseq.json
    python tests/reference/open_inseq.py inseq.json plain.json

Of a split, plain.json has a line for each example. Prints the largest difference; it must be below 1e-6.
"""

import json
import math
import sys
import tempfile
from pathlib import Path

from inseq import FeatureAttributionOutput

TOLERANCE = 1e-6


def plain(path):
    """One document, or one on each line."""
    text = Path(path).read_text()
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def same(ours, theirs):
    """The difference of two scores, of which neither or both are missing."""
    assert (ours is None) == math.isnan(theirs), (ours, theirs)
    return 0.0 if ours is None else abs(ours - theirs)


def main():
    loaded = FeatureAttributionOutput.load(sys.argv[1])
    wanted = plain(sys.argv[2])
    assert len(loaded.sequence_attributions) == len(wanted) > 0, (len(loaded.sequence_attributions), len(wanted))
    worst, scored = 0.0, 0
    for place, (sequence, want) in enumerate(zip(loaded.sequence_attributions, wanted)):
        start = sequence.attr_pos_start
        assert sequence.attr_pos_end == start + 1 == len(sequence.target)
        assert [token.token for token in sequence.source] == [token["text"] for token in want["tokens"]][:start]
        # What stands after the target was not read, and has no score.
        assert all(token["score"] is None for token in want["tokens"][start:])
        assert sequence.target[:start] == sequence.source and sequence.target[start].token == want["target"]
        column = sequence.target_attributions
        assert column.shape == (start + 1, 1) and math.isnan(column[start, 0])
        for token, score in zip(want["tokens"], column[:start, 0].tolist()):
            worst = max(worst, same(token["score"], score))
            scored += token["score"] is not None
        worst = max(worst, abs(sequence.step_scores["log_p"].item() - want["log_p"]) / max(1.0, abs(want["log_p"])))
        assert ("deltas" in sequence.step_scores) == (want["convergence_delta"] is not None)
        assert loaded.info["examples"][place]["id"] == want["id"]
        # As Inseq tells them itself, after its own aggregation.
        told = loaded.get_scores_dicts()[place]["target_attributions"]
        assert len(told) == 1, told.keys()
        for (row, _), score in next(iter(told.values())).items():
            if row < start:
                worst = max(worst, same(want["tokens"][row]["score"], score))
    page = loaded.show(display=False, return_html=True)
    assert "Saliency" in page or "<table" in page, page[:200]
    # Two files of one student are put together, and what Inseq writes again it reads again.
    assert len((loaded + loaded).sequence_attributions) == 2 * len(wanted)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again.json"
        loaded.save(again)
        first = FeatureAttributionOutput.load(again)[0].target_attributions
        assert first.nan_to_num().equal(loaded[0].target_attributions.nan_to_num())
    print(f"{len(wanted)} examples, {scored} scores, largest difference {worst:.1e}, {len(page)} characters of HTML")
    assert worst < TOLERANCE


if __name__ == "__main__":
    main()
