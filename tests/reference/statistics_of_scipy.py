"""What scipy and statsmodels make of small and awkward cases: tests/reference/statistics.json.

    pip install scipy==1.17.1 statsmodels==0.15.0
    python tests/reference/statistics_of_scipy.py

Not called statistics.py, which would hide Python's own module of that name from every script in this folder. Long lists
of differences are written as counts: [ones, minus ones, zeros].
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

HERE = Path(__file__).parent


def plain(value):
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def tost(case, margin):
    ones, minus, zeros = case["counts"] if "counts" in case else (0, 0, 0)
    x = np.array(case.get("values") or [1.0] * ones + [-1.0] * minus + [0.0] * zeros)
    p = ttost_paired(x, np.zeros_like(x), -margin, margin)[0]
    return case | {"margin": margin, "p": p, "interval": DescrStatsW(x).tconfint_mean(alpha=0.1)}


def connor(n, share):
    """Connor's equation by a root finder, where a difference up to the share solves it."""
    z, see = norm.ppf(0.975), norm.ppf(0.8)
    gap = lambda d: n * d * d - (z * share**0.5 + see * max(share - d * d, 0.0) ** 0.5) ** 2
    return brentq(gap, 1e-9, share, xtol=1e-15, rtol=1e-14)


generator = np.random.default_rng(1)
found = {
    "wilson": [[k, n, proportion_confint(k, n, method="wilson")]
               for k, n in [(0, 1), (1, 1), (0, 20), (20, 20), (1, 29), (81, 263), (610, 1221), (1, 100000), (99999, 100000)]],
    "newcombe": [[list(one), list(other), confint_proportions_2indep(*one, *other, method="newcomb", compare="diff")]
                 for one, other in [((56, 70), (48, 80)), ((9, 10), (3, 10)), ((0, 10), (0, 20)), ((10, 10), (20, 20)),
                                    ((10, 10), (0, 10)), ((0, 10), (10, 10)), ((0, 1), (1, 1)), ((1, 1), (1, 1)),
                                    ((5, 56), (0, 29)), ((800, 1221), (300, 500)), ((1, 100000), (99999, 100000))]],
    "mcnemar": [[b, c, mcnemar([[0, b], [c, 0]], exact=True).pvalue]
                for b, c in [(0, 1), (1, 0), (0, 5), (0, 6), (5, 5), (1, 9), (3, 4), (60, 40), (0, 300), (510, 490), (600, 500),
                             (1500, 1380), (2500, 2500), (2501, 2500), (5200, 5000), (3000, 1000)]],
    "holm": [[ps, multipletests(ps, method="holm")[1]]
             for ps in [[0.03], [0.01, 0.04, 0.03, 0.005], [0.02, 0.02, 0.02], [0.01, 0.02, 0.01, 0.02, 0.5], [0.0, 1.0, 0.6, 0.0],
                        [1.0, 1.0], [1e-12, 0.049, 0.05, 0.051, 0.3, 1e-12], generator.random(25).tolist(),
                        (generator.random(40) ** 6).tolist()]],
    "equivalence": [tost(case, margin) for margin in (0.01, 0.03, 0.2) for case in
                    [{"counts": c} for c in ((1, 0, 1), (40, 38, 322), (20, 40, 440), (0, 1, 99), (130, 110, 981), (1000, 1010, 8000),
                                             (300, 0, 100))]
                    + [{"values": v} for v in ([0.1, -0.1], [0.02, 0.01, -0.005], [1 / 3, -1 / 3, 0.0, 2 / 3, 0.0, -1.0],
                                               [5.0, 5.000001], generator.normal(0.0, 0.1, 12).round(6).tolist())]],
    "deviation": [[v, float(np.mean(v)), float(np.std(v, ddof=1))] for v in ([0.1, 0.1], [1e6, 1e6 + 1, 1e6 + 2], [0.61, 0.64, 0.59, 0.7])],
    "normal_quantile": [[p, norm.ppf(p)] for p in (1e-12, 1e-6, 0.001, 0.025, 0.2, 0.49, 0.8, 0.95, 0.975, 0.99999)],
    "student_cdf": [[x, df, t.cdf(x, df)] for df in (1, 2, 3, 5, 29, 277, 499, 1220, 9740, 100000)
                    for x in (-300.0, -40.0, -8.0, -2.5, -1.0, -0.999, -0.01, -1e-6, 0.0, 0.3, 1.7, 6.0)],
    "student_quantile": [[p, df, t.ppf(p, df)] for df in (1, 2, 3, 5, 29, 277, 499, 1220, 9740, 100000)
                         for p in (1e-6, 0.01, 0.05, 0.4, 0.5, 0.7, 0.95, 0.975, 0.9999)],
    "connor": [[n, share, connor(n, share)] for n, share in [(500, 0.2), (1221, 0.2), (278, 0.1), (6, 1.0), (100, 0.9), (10000, 0.01)]],
}
with (HERE / "statistics.json").open("w") as file:
    rows = (f'"{name}": [\n' + ",\n".join(json.dumps(plain(case) if not isinstance(case, dict) else
                                                     {key: plain(value) for key, value in case.items()})
                                          for case in cases) + "\n]" for name, cases in found.items())
    file.write("{\n" + ",\n".join(rows) + "\n}\n")
