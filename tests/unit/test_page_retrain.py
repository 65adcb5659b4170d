"""What the page's second tab is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from augrec.serving.page.figures import of_report
from augrec.serving.page.retrain import LastRetrain, content

FIGURE = """<section id="generated"><h2>x</h2>
<figure>
<p class="name">Sons &amp; Lovers</p>
<figcaption>The closer, the more &lt;alike&gt;.</figcaption>
<svg class="plot" viewBox="0 0 266.4 169.2" role="img" aria-label="A &amp; B"><title>t</title>\
<path d="M 0 1"/></svg>
</figure>
<figure><p class="name">A table</p><figcaption>no drawing</figcaption>
<div class="scroll"></div></figure>
</section>
<section id="gains"><figure><p class="name">Later</p><figcaption>c</figcaption>
<svg class="plot" viewBox="0 0 10 20" role="img" aria-label="l"><g/></svg></figure></section>"""


def decision(**changes: Any) -> dict[str, Any]:
    side = {
        "overall": {"ndcg@10": 0.2, "n_users": 9},
        "slices": {"1-5": {"ndcg@10": None, "n_users": 0}},
    }
    arm = {"recommender": "ease", "policy": "none", "kind": "real", "valid": side, "test": side}
    return {
        "verdict": "no_generated",
        "sentences": ["Serve ease."],
        "gate": {"metric": "ndcg@10"},
        "arms": [arm],
        "winner": {"recommender": "ease", "policy": "none", "kind": "real", "model": "x"},
        **changes,
    }


def test_a_report_gives_its_drawings_as_whole_pictures() -> None:
    first, second = of_report(FIGURE)
    assert (first["section"], first["title"], first["text"]) == (
        "generated",
        "Sons & Lovers",
        "A & B",
    )
    assert first["caption"] == "The closer, the more <alike>."
    assert (second["section"], second["title"]) == ("gains", "Later")
    root = ElementTree.fromstring(first["svg"])
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("width") == "266.4"
    assert "--ink" in first["svg"] and "prefers-color-scheme: dark" in first["svg"]


def test_a_report_without_drawings_gives_none() -> None:
    assert of_report("") == of_report("<section id='x'><figure></figure></section>") == []


def test_the_decision_names_the_winner_and_leaves_out_groups_without_users() -> None:
    told = content(decision(), {})
    assert told["groups"] == [{"name": "all users", "users": 9}]
    assert [(arm["won"], arm["values"]) for arm in told["arms"]] == [(True, [0.2])]
    assert (told["metric"], told["audits"], told["recommenders"]) == ("NDCG@10", [], [])


def test_a_decision_without_arms_can_be_shown() -> None:
    assert content(decision(arms=[]), {})["groups"] == [{"name": "all users", "users": None}]


def test_an_audit_is_shown_limit_by_limit() -> None:
    audit = {
        "passed": False,
        "failed_limits": ["max_attack_auc"],
        "privacy": {"attack_auc": 0.8},
        "limits": {"max_attack_auc": 0.65},
    }
    (told,) = content(decision(), {"vae": audit})["audits"]
    assert (told["generator"], told["passed"]) == ("vae", False)
    row = {
        "name": "attack AUC (0.5: guessing)",
        "value": 0.8,
        "interval": "",
        "bias": 0.0,
        "undecided": False,
        "bound": "≤",
        "limit": 0.65,
        "passed": False,
    }
    assert told["limits"] == [row]


def test_a_registry_that_cannot_be_read_is_no_server_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    last = LastRetrain()
    while (told := last.read())["state"] == "asking":  # MLflow is being imported
        pass
    assert told == {"state": "unreachable", "stale": True}
    assert last.report() == ""
