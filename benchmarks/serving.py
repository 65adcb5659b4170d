"""`augrec serve` and `mlflow models serve` with the same bundle and the same requests, in one run.

    python -m benchmarks.serving

For each of two models: the maximum throughput of either server, then augrec's latencies at half of
its maximum; for the first also a swap to another version under load, and overload. The load
generator shares this machine: one process, keep-alive connections, each sending its next request
when it has its answer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import yaml

from augrec.core.seeds import rng
from augrec.data.canonical import Tables, canonical_tables, write_raw
from augrec.data.columns import TIME
from augrec.data.fetch import TERMS, movielens_100k
from augrec.data.training_data import TrainingData
from augrec.recommenders import base
from benchmarks import tables
from benchmarks._load import Load, load, request
from benchmarks.environments import WHERE

K = 10
BPR = {"factors": 32, "steps": 20, "eval_every": 20}


def main() -> None:
    given = _arguments()
    shops = {
        "MovieLens 100k": movielens_100k(given.folder or WHERE / "movielens-100k"),
        f"{given.items:,} items": simulated(given.items),
    }
    print(TERMS)
    rows: list[list[str]] = []
    notes: list[str] = []
    for name, shop in shops.items():
        home = given.where / f"serving-{len(shop.items)}"
        bundles = prepare(home, shop, "ease" if len(shop.items) < 10_000 else "bpr")
        rows += compare(name, home, bundles[0], given)
        if not notes:
            with augrec(home) as (port, pid):
                notes = [swap(home, port, given), overload(home, port, pid, given)]
    table = tables.markdown(
        ["model", "server", "connections", "requests/s", "p50 ms", "p99 ms", "not 200"], rows
    )
    tables.write(
        "serving",
        "Serving",
        [table, *notes],
        tables.command_line("benchmarks.serving"),
        tables.own_versions(),
    )


def compare(name: str, home: Path, bundle: Path, given: argparse.Namespace) -> list[list[str]]:
    """One row for each server at its maximum, and one for augrec at half of that."""
    histories = _histories(home)
    ours = [
        request("/v1/recommendations", json.dumps({"history": one, "k": K}).encode())
        for one in histories
    ]
    theirs = [
        request(
            "/invocations",
            json.dumps({"dataframe_records": [{"history": one}], "params": {"k": K}}).encode(),
        )
        for one in histories
    ]
    rows = []
    for kind in ("exact", "approximate") if "items" in name else ("exact",):
        set_index(home, kind)
        with augrec(home) as (port, _):
            _warm(port, ours)
            found = httpx.get(f"http://127.0.0.1:{port}/v1/model", timeout=30).json()["champion"][
                "index"
            ]
            server = "augrec serve" + (
                f", index of recall {found['recall@10']:.3f}" if "recall@10" in found else ""
            )
            maximum = load(port, ours, connections=given.connections, seconds=given.seconds)
            rows.append(_row(name, server, given.connections, maximum))
            half = load(
                port,
                ours,
                connections=given.connections,
                seconds=given.seconds,
                rate=maximum.rate / 2,
            )
            rows.append(_row(name, f"{server}, half of that", given.connections, half))
    with mlflow(bundle) as port:
        _warm(port, theirs)
        found = load(port, theirs, connections=given.connections, seconds=given.seconds)
        rows.append(_row(name, "mlflow models serve", given.connections, found))
    print(tables.markdown(["", "", "", "/s", "p50", "p99", "not 200"], rows), flush=True)
    return rows


def swap(home: Path, port: int, given: argparse.Namespace) -> str:
    """Another version takes over while requests come in."""
    requests = [
        request("/v1/recommendations", json.dumps({"history": one, "k": K}).encode())
        for one in _histories(home)
    ]
    found: list[Load] = []
    asking = threading.Thread(
        target=lambda: found.append(
            load(port, requests, connections=given.connections // 2, seconds=3 * given.seconds)
        )
    )
    asking.start()
    time.sleep(given.seconds / 2)
    set_champion(home, "2")
    asking.join()
    set_champion(home, "1")
    return (
        f"A swap under load: {sum(found[0].statuses.values()):,} requests, by status "
        f"{found[0].statuses}, by version {found[0].versions}, p99 {found[0].p99:.1f} ms."
    )


def overload(home: Path, port: int, pid: int, given: argparse.Namespace) -> str:
    """Four times as many connections as are answered at once; memory before and after."""
    requests = [
        request("/v1/recommendations", json.dumps({"user_id": f"unknown {n}", "k": K}).encode())
        for n in range(20_000)
    ]
    # memory grows once at first
    load(port, requests, connections=512, seconds=min(20.0, given.overload))
    before = _memory_mb(pid)
    found = load(port, requests, connections=512, seconds=given.overload)
    after = _memory_mb(pid)
    return (
        f"Overload, 512 connections for {given.overload:.0f} s: {found.rate:,.0f} answered a "
        f"second, by status {found.statuses}; memory {before:,.0f} MB before, {after:,.0f} MB "
        "after."
    )


def prepare(home: Path, shop: Tables, model: str) -> list[Path]:
    """A project with two versions of a model in its registry, the first champion; their bundles."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    serving = {"features": False}
    params = {
        "prepare": {"positive": {}},
        "validation": {"events": ["view", "rating"]},
        "serving": serving,
    }
    (home / "params.yaml").write_text(yaml.safe_dump(params))
    (home / "dvc.yaml").write_text("stages: {}\n")
    write_raw(home / "data/raw", *shop, {"source": "benchmark"})
    os.environ["AUGREC_HOME"] = str(home)
    from augrec.registry import bundle, connection, mlflow_versions

    client, experiment = connection.client(), connection.experiment()
    mlflow_versions.ensure_registered_model()
    bundles = []
    for version in (1, 2):
        rows = (
            shop.interactions
            if version == 1
            else shop.interactions.head(len(shop.interactions) - 1)
        )
        base.find(model)(BPR if model == "bpr" else {}, seed=version).fit(TrainingData(rows)).save(
            home / f"model-{version}"
        )
        built = home / f"bundle-{version}"
        digests = bundle.build(home / f"model-{version}", built, {"recommender": model}, shop.items)
        run = client.create_run(experiment)
        client.log_artifacts(run.info.run_id, str(built), "bundle")
        tags = {**digests, "recommender": model}
        client.create_model_version(
            connection.MODEL, f"{run.info.artifact_uri}/bundle", run.info.run_id, tags=tags
        )
        bundles.append(built)
    set_champion(home, "1")
    return bundles


def set_index(home: Path, kind: str) -> None:
    """How the service of a project finds the best items; read when it starts."""
    params = yaml.safe_load((home / "params.yaml").read_text())
    params["serving"]["index"] = {"kind": kind}
    (home / "params.yaml").write_text(yaml.safe_dump(params))


def simulated(n_items: int) -> Tables:
    """A large catalogue; its contents do not affect the time of a search."""
    draw = rng(7, "catalogue")
    users = draw.integers(0, n_items // 10, 2 * n_items)
    items = np.concatenate([np.arange(n_items), (n_items * draw.random(n_items) ** 3).astype(int)])
    times = pl.Series(np.arange(2 * n_items) * 1_000_000, dtype=pl.Datetime("us")).cast(TIME)
    rows = pl.DataFrame({"user_id": users, "item_id": items}).select(
        pl.format("u{}", "user_id").alias("user_id"),
        pl.format("i{}", "item_id").alias("item_id"),
        event=pl.lit("view"),
        value=pl.lit(None, pl.Float32),
        timestamp=times,
    )
    return canonical_tables(rows.unique(["user_id", "item_id"], keep="first", maintain_order=True))


def set_champion(home: Path, version: str) -> None:
    """Move the alias, as a promotion does."""
    os.environ["AUGREC_HOME"] = str(home)
    from augrec.registry import connection

    connection.client().set_registered_model_alias(connection.MODEL, "champion", version)


@contextlib.contextmanager
def augrec(home: Path) -> Iterator[tuple[int, int]]:
    """The service of a project: its port and process."""
    port = _free_port()
    environment = {**os.environ, "AUGREC_HOME": str(home), "AUGREC_SERVING_PORT": str(port)}
    command = [sys.executable, "-c", "from augrec.cli import app; app()", "serve"]
    with _process(
        command, environment, f"http://127.0.0.1:{port}/v1/model", '"role":"champion"'
    ) as pid:
        yield port, pid


@contextlib.contextmanager
def mlflow(bundle: Path) -> Iterator[int]:
    """MLflow's own server of a bundle: its port."""
    port = _free_port()
    folder = Path(sys.executable).parent  # of uvicorn, which it calls
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(bundle),
        "--env-manager",
        "local",
        "-p",
        str(port),
    ]
    with _process(command, environment, f"http://127.0.0.1:{port}/ping", ""):
        yield port


@contextlib.contextmanager
def _process(
    command: Sequence[str], environment: dict[str, str], url: str, sign: str
) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(url, timeout=5)
                if answer.status_code == 200 and sign in answer.text:
                    break
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.2)
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _warm(port: int, requests: Sequence[bytes]) -> None:
    load(port, requests, connections=8, seconds=2.0)


def _histories(home: Path) -> list[list[str]]:
    rows = pl.read_parquet(
        home / "data/raw/interactions.parquet", columns=["user_id", "item_id"]
    ).head(200_000)
    grouped = rows.group_by("user_id", maintain_order=True).agg(pl.col("item_id").head(20))
    return grouped["item_id"].head(500).to_list()


def _row(name: str, server: str, connections: int, found: Load) -> list[str]:
    failed = sum(count for status, count in found.statuses.items() if status != 200)
    return [
        name,
        server,
        str(connections),
        f"{found.rate:,.0f}",
        f"{found.p50:.1f}",
        f"{found.p99:.1f}",
        f"{failed:,}",
    ]


def _memory_mb(pid: int) -> float:
    [line] = [
        one
        for one in Path(f"/proc/{pid}/status").read_text().splitlines()
        if one.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, nargs="?", help="of MovieLens 100k; downloaded by pip when absent"
    )
    parser.add_argument("--items", type=int, default=1_000_000, help="of the simulated catalogue")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--overload", type=float, default=600.0, help="seconds")
    parser.add_argument("--where", type=Path, default=WHERE)
    return parser.parse_args()


if __name__ == "__main__":
    main()
