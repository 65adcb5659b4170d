"""The report: what it shows is what the files hold, and nothing else."""

from __future__ import annotations

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from augrec.core.files import write_json, write_parquet, write_text
from augrec.data.slices import SLICES
from augrec.reporting import plots, report, run_head

POLICIES = {
    "none": "real",
    "popularity_random": "placebo",
    "truncation": "real",
    "profile_gan": "generated",
}
RECOMMENDERS = {"popularity": (0.0, 0.0), "multvae": (0.012, 0.03)}
"""Base gain and gain of generated data in the target slice."""
METRICS = ("ndcg@10", "recall@20")
START = datetime(2024, 1, 1, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script> & “Sons”"


def per_user(recommender: str, policy: str, n_users: int) -> pl.DataFrame:
    """Metrics of test and validation users; the same users are as easy or hard under every
    policy."""
    taste = np.random.default_rng(1)
    base, gain = RECOMMENDERS[recommender]
    lift = {"none": 0.0, "truncation": base, "popularity_random": base / 2, "profile_gan": gain}[
        policy
    ]
    ease = np.tile(taste.beta(2, 9, n_users), 2)
    noise = np.random.default_rng(len(recommender) + len(policy)).normal(
        0, 0.02 if base else 0, 2 * n_users
    )
    slices = np.tile(np.array(SLICES)[np.arange(n_users) % 4], 2)
    ndcg = np.clip(ease + noise + lift * (slices != "21+"), 0, 1)
    return pl.DataFrame(
        {
            "split": ["valid"] * n_users + ["test"] * n_users,
            "user_id": [f"u{i % n_users}" for i in range(2 * n_users)],
            "slice": slices,
            "ndcg@10": ndcg,
            "recall@20": np.clip(1.4 * ndcg, 0, 1),
        }
    )


def measures(table: pl.DataFrame, split: str) -> dict:
    rows = table.filter(pl.col("split") == split)

    def means(part: pl.DataFrame) -> dict:
        return {
            "n_users": part["user_id"].n_unique(),
            **{name: part[name].mean() for name in METRICS},
        }

    slices = {name: means(rows.filter(pl.col("slice") == name)) for name in SLICES}
    ndcg = means(rows)["ndcg@10"]
    tiers = {
        "head": (4, 0.34, 0.3, 0.6),
        "mid": (16, 0.33, 0.3, 0.3),
        "tail": (100, 0.33, 0.35, 0.1),
        "new": (0, 0.0, 0.05, 0.0),
    }
    items = {
        name: {"items": n, "interactions": usual, "targets": wanted, "exposure@10": places}
        for name, (n, usual, wanted, places) in tiers.items()
    }
    gap = {"groups": {}, "gap": {"ndcg@10": ndcg / 2}, "worst": {"ndcg@10": HOSTILE}}
    return {
        "overall": means(rows)
        | {"diversity@10": ndcg + 0.5, "popularity_lift@10": -0.25, "recall_new@10": None},
        "slices": slices,
        "catalogue": {"coverage@10": 0.417},
        "items": {"popularity": {"groups": items, "divergence@10": 0.3}, "categories": {}},
        "groups": {
            "age_group": gap,
            "planet": {"groups": {}, "gap": {"ndcg@10": None}, "worst": {"ndcg@10": None}},
        },
        "time": {
            name: {"n_users": 11 * month, "ndcg@10": ndcg / month}
            for month, name in enumerate(("2024-05", "2024-06"), start=1)
        },
    }


def compare(tables: dict, recommender: str, comparator: str, group: str) -> dict:
    sides = []
    for policy in ("profile_gan", comparator):
        rows = tables[recommender, policy].filter(pl.col("split") == "test")
        sides.append(
            (rows if group == "all" else rows.filter(pl.col("slice") == group))[
                "ndcg@10"
            ].to_numpy()
        )
    gains = sides[0] - sides[1]
    half = 1.96 * gains.std() / len(gains) ** 0.5
    question = "non_inferior" if group == "all" else "beats"
    passed = gains.mean() - half > (-0.01 * sides[1].mean() if group == "all" else 0)
    return {
        "recommender": recommender,
        "candidate": "profile_gan",
        "comparator": comparator,
        "slice": group,
        "metric": "ndcg@10",
        "question": question,
        "tests": 2,
        "confidence": 0.975,
        "n_users": len(gains),
        "candidate_mean": sides[0].mean(),
        "comparator_mean": sides[1].mean(),
        "difference": gains.mean(),
        "ci_low": gains.mean() - half,
        "ci_high": gains.mean() + half,
        "passed": bool(passed),
    }


def repeated(told: dict) -> dict:
    """Two trainings, 0.01 apart."""
    groups = {"overall": told["overall"], **told["slices"]}
    return {
        name: {
            "n_users": part["n_users"],
            "mean": part["ndcg@10"],
            "sd": 0.0071,
            "values": [part["ndcg@10"] - 0.005, part["ndcg@10"] + 0.005],
        }
        for name, part in groups.items()
    }


def group(kind: str, name: str, verdict: str) -> dict:
    return {
        "kind": kind,
        "group": name,
        "metric": "ndcg@10",
        "n_users": 33,
        "candidate_mean": 0.2,
        "comparator_mean": 0.25,
        "difference": -0.05,
        "ci_low": -0.08,
        "ci_high": -0.02,
        "verdict": verdict,
    }


def decide(tables: dict) -> dict:
    """A decision as the gate writes it, computed from the per-user metrics."""
    others = [policy for policy, kind in POLICIES.items() if kind != "generated"]
    return {
        "schema": 2,
        "repetitions": 2,
        "verdict": "generated",
        "sentences": [
            "Generated users make recommendations better for users with short histories.",
            "They beat real data alone and every placebo for users with 1–5 known items.",
            "Over all users nothing is lost.",
        ],
        "rule": "Validation users choose.",
        "winner": {
            "recommender": "multvae",
            "policy": "profile_gan",
            "kind": "generated",
            "model": "models/recommenders/multvae/profile_gan",
        },
        "gate": {
            "target_slice": "1-5",
            "metric": "ndcg@10",
            "confidence": 0.95,
            "bootstrap_samples": 2000,
            "non_inferiority_margin": 0.01,
            "power": 0.8,
            "min_users": 20,
        },
        "seed": 20260,
        "arms": [
            {
                "recommender": r,
                "policy": p,
                "kind": POLICIES[p],
                "valid": measures(t, "valid"),
                "test": measures(t, "test"),
                "repetitions": {"test": repeated(measures(t, "test"))},
                "regularisation": {"beta": 0.05} if r == "multvae" else {},
            }
            for (r, p), t in tables.items()
        ],
        "comparisons": [compare(tables, r, p, "1-5") for r in RECOMMENDERS for p in others]
        + [compare(tables, r, "truncation", "all") for r in RECOMMENDERS],
        "recommenders": [
            {
                "recommender": "popularity",
                "best_without_generated": "none",
                "candidate": "profile_gan",
                "accepted": False,
                "chosen": "none",
                "reason": "profile_gan does not beat none for users with 1–5 known items.",
                "power": None,
                "groups": [],
            },
            {
                "recommender": "multvae",
                "best_without_generated": "truncation",
                "candidate": "profile_gan",
                "accepted": True,
                "chosen": "profile_gan",
                "reason": "It beats every other policy and loses nothing over all users.",
                "power": {
                    "chance": 0.8,
                    "n_users": 30,
                    "slice": "1-5",
                    "gain": 0.0123,
                    "relative": 0.0567,
                },
                "groups": [
                    group("activity", "6-20", "open"),
                    group("items", "tail", "few"),
                    group("age_group", HOSTILE, "lost"),
                ],
            },
        ],
        "audits": {"profile_gan": {"passed": True, "failed_limits": []}},
    }


def write_inputs(root: Path, n_users: int) -> None:
    rng = np.random.default_rng(3)
    n = 40 * n_users
    rows = pl.DataFrame(
        {
            "user_id": [f"u{i}" for i in rng.integers(0, n_users, n)],
            "item_id": [f"i{i}" for i in np.minimum(rng.zipf(1.5, n), 120)],
            "timestamp": [
                START + timedelta(days=200 * day) for day in np.sort(rng.beta(1.4, 1.2, n))
            ],
        }
    ).cast({"timestamp": pl.Datetime("us", "UTC")})
    items = pl.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(1, 121)],
            "title": [HOSTILE, *(f"Film {i}" for i in range(2, 121))],
        }
    )
    cases = pl.DataFrame({"slice": np.array(SLICES)[np.arange(n_users) % 4]})
    prepared = root / "data/prepared"
    write_parquet(prepared / "interactions.parquet", rows)
    write_parquet(prepared / "train.parquet", rows.head(n // 2))
    write_parquet(prepared / "items.parquet", items)
    write_parquet(prepared / "cases_valid.parquet", cases)
    write_parquet(prepared / "cases_test.parquet", cases)
    write_json(
        prepared / "split.json",
        {
            "valid_from": "2024-05-15T00:00:00+00:00",
            "test_from": "2024-06-20T00:00:00+00:00",
            "counts": {
                "all": {"interactions": n},
                "times": {"resolution": "days", "tied_rows": n // 2, "tied_share": 0.5},
            },
        },
    )
    tables = {
        "interactions": {
            "rows": n + 7,
            "good": n,
            "quarantined": 7,
            "out_of_window": 0,
            "expectations": [],
        }
    }
    write_json(
        root / "reports/validation/results.json",
        {"success": True, "critical_failures": [], "tables": tables},
    )
    write_json(
        root / "data/quarantine/counts.json",
        {"interactions": {"timestamp in the future": 5, "item_id is null": 2}},
    )


def write_generator(root: Path, name: str = "profile_gan") -> None:
    rng = np.random.default_rng(4)
    rows = pl.DataFrame(
        {
            "user_id": [f"synthetic:{name}:{i // 12}" for i in range(480)],
            "item_id": [f"i{1 + (i % 12) * 3}" for i in range(480)],
        }
    )
    write_parquet(root / "data/synthetic" / name / "interactions.parquet", rows)
    write_json(
        root / "data/synthetic" / name / "sample.json",
        {"generator": name, "n_users": 40, "n_interactions": 480},
    )
    curve = ["step,critic,generator"] + [
        f"{s},{1.4 - s / 2000 + rng.normal(0, 0.03)},{0.7 + s / 4000}" for s in range(0, 1000, 20)
    ]
    write_text(root / "models/generators" / name / "curve.csv", "\n".join(curve) + "\n")
    edges = np.linspace(0, 1, 21)
    rate = np.linspace(0, 1, 30)
    drawings = {
        "popularity": {
            "real": (0.1 / np.arange(1, 121) ** 0.9).tolist(),
            "synthetic": (0.1 / np.arange(1, 111) ** 0.85).tolist(),
        },
        "lengths": {
            "edges": np.arange(0, 210, 10).tolist(),
            "real": np.histogram(rng.gamma(2, 25, 900), np.arange(0, 210, 10))[0].tolist(),
            "synthetic": np.histogram(rng.gamma(2, 24, 900), np.arange(0, 210, 10))[0].tolist(),
        },
        "neighbours": {
            "edges": edges.tolist(),
            "training": np.histogram(rng.beta(5, 12, 900), edges)[0].tolist(),
            "held_out": np.histogram(rng.beta(4.6, 12, 900), edges)[0].tolist(),
        },
        "categories": {
            "names": ["Drama", "Comedy", "Action & a very long category name"],
            "real": [0.5, 0.3, 0.2],
            "synthetic": [0.45, 0.33, 0.22],
        },
        "roc": {"false_positive_rate": rate.tolist(), "true_positive_rate": (rate**0.85).tolist()},
    }
    audit = {
        "generator": name,
        "passed": True,
        "failed_limits": [],
        "fidelity": {"popularity_correlation": 0.951},
        "diversity": {"item_coverage": 0.917, "duplicate_share": 0.0},
        "privacy": {"copy_share": 0.0, "attack_auc": 0.5417},
        "limits": {
            "min_item_coverage": 0.3,
            "max_duplicate_share": 0.05,
            "max_copy_share": 0.01,
            "max_attack_auc": 0.65,
        },
    }
    write_json(root / "reports/audit" / name / "audit.json", audit)
    write_json(root / "reports/audit" / name / "distributions.json", drawings)


def build(root: Path, n_users: int = 120) -> dict:
    """A whole small workspace; gives its decision."""
    write_inputs(root, n_users)
    write_generator(root)
    tables = {(r, p): per_user(r, p, n_users) for r in RECOMMENDERS for p in POLICIES}
    for (recommender, policy), table in tables.items():
        write_parquet(root / f"reports/evaluation/{recommender}/{policy}/per_user.parquet", table)
        steps = (
            [f"{s},{4 - s / 500},{0.1 + s / 9000}" for s in range(100, 600, 100)]
            if recommender == "multvae"
            else []
        )
        write_text(
            root / f"models/recommenders/{recommender}/{policy}/curve.csv",
            "\n".join(["step,loss,ndcg@10", *steps, ""]),
        )
    write_text(
        root / "params.yaml",
        "seed: 20260\nrun:\n  policies: [none]\ndata:\n  import: {secret_column: x}\n",
    )
    decision = json.loads(json.dumps(decide(tables)))
    write_json(root / "reports/decision.json", decision)
    return decision


class Loads(HTMLParser):
    """Collects tags, and everything a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        links = [
            value or ""
            for name, value in attrs
            if name in ("src", "href", "srcset", "data", "poster")
        ]
        self.fetched += [link for link in links if not link.startswith(("#", "data:"))]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    root = tmp_path_factory.mktemp("run")
    decision = build(root)
    report.write(root / "reports/report.html", decision, root)
    return root, decision, (root / "reports/report.html").read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    found = re.search(rf'<(section|header|footer) id="{name}">(.*?)</\1>', page, re.S)
    assert found, name
    return found[2]


def test_the_verdict_comes_first_with_the_winners_numbers(
    workspace: tuple[Path, dict, str],
) -> None:
    _, decision, page = workspace
    verdict = section(page, "verdict")
    assert all(sentence in verdict for sentence in decision["sentences"])
    [arm] = [
        arm
        for arm in decision["arms"]
        if (arm["recommender"], arm["policy"]) == ("multvae", "profile_gan")
    ]
    assert f"{arm['test']['overall']['ndcg@10']:.3f}" in verdict
    assert f"{arm['test']['slices']['1-5']['ndcg@10']:.3f}" in verdict


def test_what_was_known_beforehand_is_the_first_line(
    workspace: tuple[Path, dict, str], tmp_path: Path
) -> None:
    root, decision, page = workspace
    assert "Before the run:" not in page
    report.write(tmp_path / "report.html", decision | {"advice": "Passed in 0 of 9; `x`."}, root)
    told = (tmp_path / "report.html").read_text(encoding="utf-8")
    after = told[told.index("</h1>") :]
    assert after.index("Before the run: Passed in 0 of 9; x.") < after.index('class="lead"')


def test_planted_numbers_of_the_data_and_the_audit_appear(
    workspace: tuple[Path, dict, str],
) -> None:
    page = workspace[2]
    inputs, generated = section(page, "inputs"), section(page, "generated")
    assert "timestamp in the future" in inputs and ">5<" in inputs and "4,807" in inputs
    assert (
        "40 synthetic users with 480 interactions" in generated
        and ">0.542<" in generated
        and "≤ 0.65" in generated
    )


def test_every_comparison_of_the_gate_is_shown_with_its_outcome(
    workspace: tuple[Path, dict, str],
) -> None:
    _, decision, page = workspace
    table = (
        section(page, "why")
        .split("Every comparison that was made")[1]
        .split("Does any group lose?")[0]
    )
    assert table.count("✓ yes") == sum(row["passed"] for row in decision["comparisons"])
    assert table.count("✗ no") == sum(not row["passed"] for row in decision["comparisons"])
    for row in decision["comparisons"]:
        assert f"{row['ci_high']:+.4f}".lstrip("+") in table


def test_the_detectable_gain_is_shown_next_to_each_candidate(
    workspace: tuple[Path, dict, str],
) -> None:
    table = section(workspace[2], "why").split("Every comparison that was made")[0]
    assert "5.7 % (+0.012)" in table and "probability of 80 %" in table


def test_a_group_that_loses_is_shown_first_and_open(workspace: tuple[Path, dict, str]) -> None:
    part = (
        section(workspace[2], "why").split("Does any group lose?")[1].split("Chance in training")[0]
    )
    assert (
        "multvae: profile_gan against truncation: 1 group shown to lose more than the margin"
        in part
    )
    assert part.count("<details open>") == 1 and "popularity" not in part
    assert (
        part.index("age group")
        < part.index("6–20 known items")
        < part.index("the least popular items")
    )
    assert "<script>" not in part


def test_every_training_of_an_arm_is_shown_with_the_regularisation_chosen_for_it(
    workspace: tuple[Path, dict, str],
) -> None:
    _, decision, page = workspace
    part = section(page, "why").split("Chance in training")[1]
    for arm in decision["arms"]:
        first, second = arm["repetitions"]["test"]["1-5"]["values"]
        assert f"{first:.3f} · {second:.3f}" in part
    assert part.count("beta 0.05") == len(POLICIES)


def test_lists_of_the_winner_are_shown_next_to_the_best_arm_without_generated_data(
    workspace: tuple[Path, dict, str],
) -> None:
    _, decision, page = workspace
    told = section(page, "beyond")
    arms = {(arm["recommender"], arm["policy"]): arm["test"] for arm in decision["arms"]}
    for pair in (("multvae", "profile_gan"), ("multvae", "truncation"), ("popularity", "none")):
        assert "multvae × profile_gan: the winner" in told and " × ".join(pair) in told
        assert f"{arms[pair]['overall']['diversity@10']:.3f}" in told
        assert f"−{arms[pair]['groups']['age_group']['gap']['ndcg@10']:.3f}" in told
    assert ">0.417<" in told and "−25 %" in told
    assert "new items" not in told  # nothing was measured of them
    assert "planet" not in told  # no gap


def test_the_report_shows_when_lists_were_good(
    workspace: tuple[Path, dict, str], tmp_path: Path
) -> None:
    _, decision, page = workspace
    part = section(page, "beyond").split("Quality over time")[1]
    winner = next(
        arm
        for arm in decision["arms"]
        if (arm["recommender"], arm["policy"]) == ("multvae", "profile_gan")
    )
    row = part.split(">2024-06</th>")[1].split("</tr>")[0]
    assert ">22<" in row and f"{winner['test']['time']['2024-06']['ndcg@10']:.3f}" in row
    changed = json.loads(json.dumps(decision))
    for arm in changed["arms"]:
        del arm["test"]["time"]["2024-06"]
    report.write(tmp_path / "report.html", changed, tmp_path)
    assert "Quality over time" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_predictions_of_events_are_shown_for_the_best_arm_that_makes_them(
    workspace: tuple[Path, dict, str], tmp_path: Path
) -> None:
    assert "predictions of events" not in workspace[2]
    decision = json.loads(json.dumps(workspace[1]))
    chance = {"n": 1204, "auc": 0.8123, "log_loss": 0.5456, "ece": 0.0789, "slices": {}}
    value = {"n": 77, "mse": 1.44, "rmse": 1.2, "mae": None, "slices": {}}
    for arm in decision["arms"]:
        if arm["recommender"] == "popularity" and arm["policy"] in (
            "popularity_random",
            "profile_gan",
        ):
            arm["test"]["heads"] = {"purchase": chance, "rating": value, "seen": chance | {"n": 0}}
            arm["valid"]["overall"]["ndcg@10"] = 0.9 if arm["policy"] == "profile_gan" else 0.0
    report.write(tmp_path / "report.html", decision, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    part = section(page, "beyond").split("How good predictions of events are")[1]
    assert (
        part.count("popularity × profile_gan") == 2 and "popularity × popularity_random" not in part
    )
    assert "1,204" in part and all(
        f">{one}<" in part for one in ("0.812", "0.546", "0.079", "1.200")
    )
    assert "seen" not in part.split("</thead>")[1]


def test_the_report_says_what_the_protocol_kept_from_the_models(
    workspace: tuple[Path, dict, str], tmp_path: Path
) -> None:
    assert "users and times that no model was trained on" in section(workspace[2], "verdict")
    rules = {"order": "user", "users_held_out": False, "new_items": False}
    write_json(
        tmp_path / "data/prepared/split.json",
        {"protocol": "leave_last_out", "rules": rules, "valid_from": None, "test_from": None},
    )
    report.write(tmp_path / "report.html", workspace[1], tmp_path)
    verdict = section((tmp_path / "report.html").read_text(encoding="utf-8"), "verdict")
    assert "held out of each user&#39;s own history (protocol: leave last out)" in verdict
    assert "no model was trained on" not in verdict


def test_the_report_says_how_many_rows_are_tied_and_how_exact_times_are(
    workspace: tuple[Path, dict, str],
) -> None:
    inputs = section(workspace[2], "inputs")
    assert "Times have the resolution of days" in inputs
    assert "(50%) are at the same time as another one of the same user" in inputs


def test_users_who_gained_and_lost_are_counted(workspace: tuple[Path, dict, str]) -> None:
    root, _, page = workspace
    folder = root / "reports/evaluation/multvae"
    sides = [
        pl.read_parquet(folder / name / "per_user.parquet") for name in ("profile_gan", "none")
    ]
    gains = np.subtract(
        *(s.filter(split="test", slice="1-5").sort("user_id")["ndcg@10"].to_numpy() for s in sides)
    )
    assert f"{(gains > 0).sum()} gained, {(gains < 0).sum()} lost" in section(page, "gains")


def test_ticks_of_the_plots_are_not_shortened(workspace: tuple[Path, dict, str]) -> None:
    ticks = re.findall(r">(−?0\.\d+)</text>", section(workspace[2], "gains"))
    assert ticks and len({float(tick.replace("−", "-")) for tick in ticks}) > 2
    assert any(len(tick.lstrip("−")) > 4 for tick in ticks)


def test_the_same_files_give_the_same_bytes(
    workspace: tuple[Path, dict, str], tmp_path: Path
) -> None:
    root, decision, page = workspace
    report.write(tmp_path / "again.html", decision, root)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_the_page_loads_nothing_and_is_small(workspace: tuple[Path, dict, str]) -> None:
    page = workspace[2]
    loads = Loads()
    loads.feed(page)
    assert loads.fetched == [] and not {"script", "img", "iframe", "object"} & set(loads.tags)
    assert (
        "http:" not in page
        and "https:" not in page
        and "url(http" not in page
        and "@import" not in page
    )
    assert len(page.encode()) < 2_000_000


def test_data_cannot_become_markup(workspace: tuple[Path, dict, str]) -> None:
    page = workspace[2]
    assert "<script" not in page and "&lt;script&gt;alert(&#39;x&#39;)" in page


def test_every_plot_has_a_caption_and_a_text_alternative(workspace: tuple[Path, dict, str]) -> None:
    plots = re.findall(
        r"<figcaption>(.+?)</figcaption>\s*<svg[^>]*aria-label=\"([^\"]+)\"", workspace[2], re.S
    )
    assert len(plots) == workspace[2].count("<svg") > 8
    assert all(caption.strip() and label.strip() for caption, label in plots)


def test_parameters_are_shown_but_not_how_tables_were_imported(
    workspace: tuple[Path, dict, str],
) -> None:
    footer = section(workspace[2], "reproduce")
    assert "policies" in footer and "secret_column" not in footer and "augrec reproduce" in footer


def test_what_was_not_part_of_the_run_is_named(
    workspace: tuple[Path, dict, str], tmp_path: Path
) -> None:
    report.write(tmp_path / "report.html", workspace[1], tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in ("inputs", "generated", "gains", "training", "reproduce"):
        assert "not part of this run" in section(page, name), name
    assert workspace[1]["sentences"][0] in page


def test_a_run_without_generated_data_says_so(
    workspace: tuple[Path, dict, str], tmp_path: Path
) -> None:
    decision = json.loads(json.dumps(workspace[1]))
    decision["verdict"], decision["audits"], decision["comparisons"] = "no_generated", {}, []
    decision["winner"] |= {"policy": "none", "kind": "real"}
    decision["arms"] = [arm for arm in decision["arms"] if arm["kind"] != "generated"]
    for row in decision["recommenders"]:
        row |= {"candidate": None, "accepted": False, "chosen": "none"}
    report.write(tmp_path / "report.html", decision, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No generated data this time" in page and "Comparisons: not part of this run" in page


@pytest.mark.parametrize("hours", [0.05, 1.6, 3, 30, 24 * 45, 24 * 100, 24 * 700])
def test_the_timeline_finds_dates_to_show_for_any_span(hours: float) -> None:
    width = timedelta(hours=hours) / 40
    starts = [START + step * width for step in range(40)]
    activity = pl.DataFrame({"period": "train", "start": starts, "width": width, "n": 3})
    assert "<svg" in plots.timeline(activity, "activity")


def test_the_page_can_be_read_with_keyboard_and_screen_reader(
    workspace: tuple[Path, dict, str],
) -> None:
    page = workspace[2]
    scrolling = re.findall(r'<div class="scroll"[^>]*>', page)
    assert len(scrolling) > 5 and all('tabindex="0"' in one for one in scrolling)
    headers = re.findall(r"<th[ >][^>]*>?", page)
    assert len(headers) > 20 and all("scope=" in one for one in headers)
    assert not re.search(r"<th[^>]*></th>", page)
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1 and all(
        later - earlier <= 1 for earlier, later in itertools.pairwise(levels)
    )


def test_the_head_names_the_run_and_what_became_of_it_and_the_report_stays_as_it_was(
    workspace: tuple[Path, dict, str], tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text(workspace[2], encoding="utf-8")
    run_head.complete(tmp_path, run=("<run> 1", "http://airflow/run"), outcome=("waiting", ""))
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "index.html").touch()
    page = run_head.complete(tmp_path, version=("7", "http://mlflow/7"), outcome=("champion", ""))
    assert page == (tmp_path / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == workspace[2]
    head = page[: page.index("<h1>")]
    assert '<a href="http://airflow/run">&lt;run&gt; 1</a>' in head
    assert '<a href="http://mlflow/7">7</a>' in head
    assert "champion" in head and "waiting" not in head
    assert '<a href="validation/index.html">Data Docs</a>' in head
