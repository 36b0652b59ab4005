"""The report as a person reads it: its first answers, and one small page that needs nothing else."""

import re
import xml.etree.ElementTree as ET
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from divspa.evaluation.facts import Before, Facts, Training
from divspa.evaluation.headline import headline
from divspa.evaluation.report import ModelResult, write_report
from divspa.evaluation.shown import Added, Item, Shown

METRICS = ("hr@50", "ndcg@50", "distinct@100")
DAY, BEFORE = date(2024, 6, 2), date(2024, 6, 1)
SECONDS = {"build_features": 60.0, "train_base": 30.0, "augment": 20.0, "train_divspa": 10.0}


def figures(hr: float, tail: float, distinct: float) -> dict[tuple[str, str], float]:
    found = {("all", "hr@50"): hr, ("all", "ndcg@50"): hr / 3, ("all", "distinct@100"): distinct}
    found |= {("all", "coverage@100"): distinct / 70_000}
    return found | {
        ("tail", "events"): 500,
        ("tail", "hr@50"): tail,
        ("head", "events"): 500,
        ("head", "hr@50"): 2 * hr,
    }


def comparison(metric: str, verdict: str, *, gain: float = 0.1) -> dict:
    tested = {"low": gain - 0.05, "high": gain + 0.05, "p_holm": 0.01, "p_permutation": 0.01, "verdict": verdict}
    values = {"value": 0.2 * (1 + gain), "against_value": 0.2, "relative": gain}
    return {"model": "divspa", "against": "base", "metric": metric} | values | tested


def channel(name: str, *, published: bool) -> dict:
    told = {"weights": [1.0], "criterion": "ndcg@200", "valid": 0.1, "metric": "hr@50", "test": 0.2}
    return {"channel": name, "published": published, "reason": "best on held-out clicks" if published else None} | told


FIGURES = {"popularity": figures(0.1, 0.0, 100), "base": figures(0.2, 0.02, 500), "divspa": figures(0.22, 0.01, 900)}


@pytest.mark.parametrize(
    ("verdicts", "answer"),
    [
        (("better", "better"), "yes"),
        (("worse", "worse"), "no, worse"),
        (("better", "no difference shown"), "in part: hr@50"),
        (("no difference shown", "worse"), "no, worse in ndcg@50"),
        (("better", "worse"), "partly"),
        (("no difference shown", "no difference shown"), "no difference shown"),
    ],
)
def test_the_first_answer_says_no_more_than_the_tests(verdicts: tuple[str, str], answer: str) -> None:
    rows = [comparison(metric, verdict) for metric, verdict in zip(METRICS, verdicts, strict=False)]
    better, gain, whom, cost = headline("base", FIGURES, rows, "divspa", "best", SECONDS, METRICS)
    assert better.answer == answer and "hr@50 0.2000 → 0.2200, +10.0% (+5.0% to +15.0%, p 0.01)" in better.told
    assert (
        gain.answer == "+10.0% over its base" and "hold 22.0, the base's 20.0, the most popular items 10.0" in gain.told
    )
    assert whom.answer == "1 of 2 parts gain" and "rare items: 0.0200 → 0.0100" in whom.told
    assert cost.answer == "30 s more" and "500 → 900" in cost.told and "of 120 s" in cost.told


def test_a_day_that_is_held_back_or_has_a_base_alone_says_so() -> None:
    better, gain, whom, _ = headline("base", FIGURES, [], None, "hr@50 fell", {}, METRICS)
    assert (better.answer, gain.answer, gain.told, whom.answer) == ("not trained", "held back", "hr@50 fell", "—")


def test_the_page_is_small_whole_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    rng, items = np.random.default_rng(1), 70_000
    popularity_N = rng.integers(0, 1000, items)
    results = [ModelResult(name, of_model, {100: rng.integers(0, 50, items)}) for name, of_model in FIGURES.items()]
    tea = Item("i1", "Tea <b>", "https://example.org/tea.png")
    user = Shown(
        "<script>", [tea], [tea], {name: [tea, Item("i2", "i2")] for name in FIGURES}, {"i2i": [Added(tea, tea, 0.5)]}
    )
    before = Before(
        {"hr@50": {"base": {BEFORE: 0.19}}, "distinct@100": {}}, {BEFORE: "base"}, {"age": {BEFORE: 0.1, DAY: 0.2}}
    )
    trainings = [Training("base", [2.0, 1.0], [0.1, 0.2], 1, 30.0), Training("divspa", [1.0], [0.3], 0, 10.0)]
    facts = Facts({"users": 5}, trainings, [], SECONDS, before, [user])
    rows, channels = [comparison(metric, "better") for metric in METRICS[:2]], [channel("divspa", published=True)]
    write_report(f"{tmp_path}/r.html", DAY, results, rows, channels, facts, popularity_N, (50,))
    page = (tmp_path / "r.html").read_text()
    assert len(page) < 500_000, "3 MB is the limit"
    assert "<script>" not in re.sub(r"<script>\n.*</script>", "", page, flags=re.DOTALL) and "Tea &lt;b&gt;" in page
    assert re.findall(r'(?:src|href)="(?!#)([^"]*)"', page) == ["https://example.org/tea.png"] * page.count("<img")
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawn) == 3 + 1 + 2, "exposure, learning, and the days: hr@50 and drift"
    ids = [name for svg in drawn for name in re.findall(r' id="([^"]+)"', svg)]
    assert len(ids) == len(set(ids)), "a name in one plot is none in another"
    titles = {title.text for svg in drawn for title in ET.fromstring(svg).iter("title")}
    assert {"base, 2024-06-01: 0.19", "base, 2: 0.2"} <= titles, "values where the pointer rests"
    assert not any("#000000" in svg for svg in drawn), "the colour of the text, light or dark"
