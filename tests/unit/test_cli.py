"""The command line without the platform: help that teaches, errors that say what to do, parameters,
progress."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from augrec.cli import data, runs, terminal
from augrec.cli.app import app, cli
from augrec.core.config import read_params
from augrec.core.errors import AugrecError, ConfigError, InputError, TransientError
from augrec.core.files import read_json

COMMANDS = [
    "demo",
    "up",
    "down",
    "status",
    "run",
    "report",
    "config",
    "models",
    "cross-validate",
    "recommend",
    "promote",
    "rollback",
    "reproduce",
    "serve",
]
DATA_COMMANDS = ["get", "simulate", "import", "log"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, nothing running in it."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((Path(__file__).parents[2] / name).read_text())
    monkeypatch.setenv("AUGREC_HOME", str(tmp_path))
    monkeypatch.setenv("AUGREC_AIRFLOW_PORT", "9")  # discard: nothing answers there
    monkeypatch.setenv("AUGREC_MLFLOW_PORT", "9")
    return tmp_path


def help_of(*words: str) -> str:
    result = CliRunner().invoke(cli, [*words, "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return result.output


def told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str]:
    """Exit code and error text of the whole command, as a shell sees them."""
    monkeypatch.setattr(sys, "argv", ["augrec", *words])
    with pytest.raises(SystemExit) as ended:
        app()
    return int(ended.value.code or 0), capsys.readouterr().err


def test_help_lists_every_command_with_a_sentence_about_it() -> None:
    text = help_of()
    for name in [*COMMANDS, "data"]:
        [line] = [line for line in text.splitlines() if line.startswith(f"│ {name} ")]
        assert len(line.strip("│ ").removeprefix(name).split()) > 3
    assert "augrec demo" in text and "augrec recommend -u 42" in text


@pytest.mark.parametrize(
    "words",
    [[name] for name in COMMANDS] + [["data", name] for name in DATA_COMMANDS],
    ids=" ".join,
)
def test_every_help_fits_80_columns(words: list[str]) -> None:
    text = help_of(*words)
    assert max(map(len, text.splitlines())) <= 80
    assert f" {' '.join(words)} " in text.splitlines()[1] and len(text.splitlines()) > 6


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["cross-validate"],
        ["recommend"],
        ["promote"],
        ["data", "import"],
        ["data", "simulate"],
    ],
    ids=" ".join,
)
def test_commands_with_options_teach_by_example(words: list[str]) -> None:
    examples = [line for line in help_of(*words).splitlines() if line.strip().startswith("$ ")]
    assert any(f"augrec {' '.join(words)}" in line for line in examples)


def test_the_help_needs_no_heavy_package() -> None:
    code = (
        "import sys\nfrom augrec.cli import app\nsys.argv = ['augrec', '--help']\n"
        "try: app()\nexcept SystemExit: pass\n"
        "heavy = {'airflow', 'mlflow', 'feast', 'torch', 'pandas', 'dvc', 'great_expectations'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_an_import_ends_with_what_it_found_what_a_run_would_do_and_its_warnings(
    project: Path,
) -> None:
    (project / "log.csv").write_text("user_id,item_id,timestamp,x\na,b,2024-01-01,1\na,c,soon,1\n")
    result = CliRunner().invoke(cli, ["data", "import", "-i", str(project / "log.csv")])
    assert result.exit_code == 0
    for words in (
        "2 interactions, 1 users, 2 items",
        "timestamp (1 missing); left out: x",
        "1: timestamp is missing",
        "more than 5% of the rows are quarantined",
        "Warning: ",
        "the first is 'soon' in line 3",
    ):
        assert words in " ".join(result.output.split())


def test_the_shell_completes_commands() -> None:
    asked = {"_AUGREC_COMPLETE": "complete_bash", "COMP_WORDS": "augrec re", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['augrec']; from augrec.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}
    )
    assert done.stdout.split() == ["report", "recommend", "reproduce"]


def test_the_fields_known_here_are_those_of_the_trigger_form() -> None:
    from augrec.orchestration import form

    fields = form.fields(read_params(Path(__file__).parents[2]))
    assert set(runs.FIELDS) == set(fields)
    assert {name for name, param in fields.items() if param.schema.get("type") == "array"} == set(
        runs.LISTS
    )


def test_the_layouts_known_here_are_those_that_can_be_read() -> None:
    from augrec.data.sources import LAYOUTS

    assert set(data.LAYOUTS) == set(LAYOUTS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("policies=none,truncation", ["none", "truncation"]),
        ('policies=["none", "truncation"]', ["none", "truncation"]),
        ("recommenders=ease", ["ease"]),
        ("max_synthetic_ratio=0.5", 0.5),
        ("require_approval=true", True),
        ("data_start=2024-01-01", "2024-01-01"),
        ("data_end=null", None),
    ],
)
def test_a_parameter_is_json_or_text_and_lists_may_have_commas(text: str, value: object) -> None:
    assert runs._parse_param(text) == (text.partition("=")[0], value)


@pytest.mark.parametrize(
    ("text", "named"), [("policies", "name=value"), ("polices=none", "'polices'")]
)
def test_a_parameter_that_cannot_be_is_refused_before_anything_starts(
    text: str, named: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        runs._parse_param(text)
    assert named in refused.value.what and refused.value.fix


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["report"], "no report yet", "augrec run"),
        (["report", "manual__1"], "manual__1 has no report", "augrec status"),
        (["recommend", "-u", "1"], "no data yet", "augrec data get"),
        (["data", "import"], "no source of the tables", "--interactions"),
        (["data", "import", "-i", "nowhere.csv"], "no such file", "path"),
        (
            ["data", "import", "-i", "sql:events"],
            "needs the address of the database",
            "AUGREC_SOURCE_URL",
        ),
        (
            ["data", "import", "--layout", "nonsense", "--folder", "."],
            "'nonsense'",
            "movietweetings",
        ),
        (["run", "-p", "colour=red"], "'colour'", "recommenders"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_say_what_where_and_what_to_do(
    words: list[str],
    what: str,
    fix: str,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, text = told(capsys, monkeypatch, *words)
    first, *rest = text.splitlines()
    after = next(i for i, line in enumerate(rest) if line.startswith("  fix"))
    assert code == 2 and first.startswith("Error: ") and what in first
    assert any(line.startswith("  where") for line in rest[:after])
    assert fix in " ".join(rest[after:]) and "Traceback" not in text


def test_without_the_platform_a_run_says_how_to_start_it(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = told(capsys, monkeypatch, "run", "--detach")
    assert code == 2 and "there is no data to choose" in text and "augrec data get" in text
    named = ("generators=profile_gan", "policies=none", "recommenders=ease")
    words = [word for one in named for word in ("-p", one)]
    code, text = told(capsys, monkeypatch, "run", "--detach", *words)
    assert code == TransientError.exit_code and "augrec up" in text and "Traceback" not in text


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml"])
def test_a_broken_yaml_file_is_named_before_a_run_starts(
    name: str, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / name).write_text("seed: 1\nrun: [a\n")
    code, text = told(capsys, monkeypatch, "run")
    assert code == 2 and f"{name} cannot be read" in text and "line 3" in text


@pytest.mark.parametrize("where", ["/", "folder"])
def test_outside_a_project_the_command_says_where_to_go(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(where if where == "/" else tmp_path)
    code, text = told(capsys, monkeypatch, "status")
    assert code == 2 and "not in an augrec project" in text and "AUGREC_HOME" in text


def test_impossible_sizes_are_refused_by_name(project: Path) -> None:
    refused = CliRunner().invoke(cli, ["data", "simulate", "--users", "0"])
    assert (
        refused.exit_code == 2 and "--users" in refused.output and not (project / "data").exists()
    )


def test_a_simulated_shop_is_counted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = CliRunner().invoke(
        cli, ["data", "simulate", "--users", "30", "--items", "20", "--interactions", "300"]
    )
    assert found.exit_code == 0 and (project / "data" / "raw" / "source.json").exists()


def test_brackets_in_an_error_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_error(InputError("column [/b] [red]x", where="a[0].csv", fix="rename [/b]"))
    text = capsys.readouterr().err
    assert "column [/b] [red]x" in text and "a[0].csv" in text and "rename [/b]" in text


def test_what_programs_print_goes_to_the_log_and_the_rest_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with terminal.redirect_output(tmp_path / "logs" / "stages.log") as out:
        subprocess.run([sys.executable, "-c", "print('from a stage')"], check=True)
        out.print("3/50 train")
    print("afterwards")
    shown = capfd.readouterr().out
    assert "3/50 train" in shown and "afterwards" in shown and "from a stage" not in shown
    assert (tmp_path / "logs" / "stages.log").read_text() == "from a stage\n"


def test_a_path_in_an_error_is_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/a-long-folder" * 20
    terminal.show_error(InputError("no", where=path))
    assert path in capsys.readouterr().err


def explained(raised: Exception) -> AugrecError:
    return terminal.as_augrec_error(raised)


def test_errors_of_others_become_augrecs_own() -> None:
    with pytest.raises(yaml.YAMLError) as broken:
        yaml.safe_load("a: [1")
    assert isinstance(explained(broken.value), ConfigError)
    denied = explained(PermissionError(13, "Permission denied", "data/raw"))
    assert denied.what == "Permission denied" and denied.where == "data/raw" and denied.fix


def test_a_cut_off_data_file_is_no_mistake_of_augrecs(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = project / "whole.parquet"
    pl.DataFrame({"user_id": ["1"] * 1000}).write_parquet(whole)

    def read() -> None:
        cut = project / "cut.parquet"
        cut.write_bytes(whole.read_bytes()[:100])
        pl.read_parquet(cut)

    with pytest.raises(SystemExit) as ended:
        terminal.run_command(read)
    text = capsys.readouterr().err
    assert ended.value.code == 2 and "cannot be read" in text and "data import" in text
    assert "unforeseen" not in text


def test_the_traceback_of_the_unforeseen_is_kept_in_a_file() -> None:
    try:
        raise RuntimeError("the store is upside down")
    except RuntimeError as error:
        told = explained(error)
    kept = Path(told.where.split()[0])
    assert "upside down" in told.what and "Traceback" in kept.read_text()
    kept.unlink()


def test_cross_validation_puts_the_best_first_and_keeps_every_users_metrics(project: Path) -> None:
    words = ["--users", "120", "--items", "60", "--interactions", "2500"]
    assert CliRunner().invoke(cli, ["data", "simulate", *words]).exit_code == 0
    found = CliRunner().invoke(cli, ["cross-validate", "popularity", "item_knn", "--folds", "3"])
    assert found.exit_code == 0, found.output
    kept, means = project / "reports" / "cross_validation", {}
    for name in ("popularity", "item_knn"):
        means[name] = read_json(kept / name / "metrics.json")["overall"]["ndcg@10"]
        assert pl.read_parquet(kept / name / "per_user.parquet")["fold"].n_unique() == 3
    best, other = sorted(means, key=lambda name: -means[name])
    shown = [line.split()[:2] for line in found.output.splitlines()]
    assert [[best, f"{means[best]:.4f}"], [other, f"{means[other]:.4f}"]] == [
        line for line in shown if line and line[0] in means
    ]
    assert f"{means[other] - means[best]:+.4f}" in found.output
