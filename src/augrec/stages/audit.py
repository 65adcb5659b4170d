"""Audit a synthetic sample: data/synthetic/<generator> -> reports/audit/<generator>.

A failed audit is no error of this stage: the verdict is written, and the stages augment and decide
read it.
"""

from __future__ import annotations

import logging
from pathlib import Path

from augrec.audit.config import AuditConfig
from augrec.audit.inputs import AuditInputs
from augrec.audit.sample_audit import audit_sample
from augrec.core.config import parse, read_params
from augrec.core.files import read_json, whole_directory, write_json
from augrec.core.seeds import derive
from augrec.data.split import TEST, VALID
from augrec.generators.base import EXTENSIONS
from augrec.stages import _left_out
from augrec.stages._inputs import begin_of, read_table, read_training_interactions
from augrec.stages.runner import run

log = logging.getLogger(__name__)
PREPARED = Path("data/prepared")


def main(name: str) -> None:
    """Audit the sample of the generator called `name`: audit.json, distributions.json and a page,
    index.html."""
    made, target = Path("data/synthetic") / name, Path("reports/audit") / name
    if _left_out.passed_on(_left_out.read(made), target):
        return
    from augrec.reporting import audit_page  # imports the plotting libraries

    params = read_params()
    config = parse(AuditConfig, params.get("audit") or {}, "audit")
    extended = made / f"{EXTENSIONS}.parquet"
    inputs = AuditInputs(
        training=read_training_interactions(),
        interactions=read_table(PREPARED / "interactions.parquet", "prepare"),
        held_out=read_table(PREPARED / "held_out.parquet", "prepare"),
        valid_from=begin_of(VALID),
        test_from=begin_of(TEST),
        items=read_table(PREPARED / "items.parquet", "prepare"),
        users=read_table(PREPARED / "users.parquet", "prepare"),
        sample_users=read_table(made / "users.parquet", "synthesize")
        if (made / "users.parquet").exists()
        else None,
        extensions=read_table(extended, "synthesize") if extended.exists() else None,
        cases=read_table(PREPARED / f"cases_{VALID}.parquet", "prepare"),
        sample_facts=read_json(made / "sample.json"),
    )
    sample = read_table(made / "interactions.parquet", "synthesize")
    seed = derive(params["seed"], "audit", name)
    verdict, distributions = audit_sample(sample, inputs, config, generator=name, seed=seed)
    with whole_directory(target) as draft:
        write_json(draft / "audit.json", verdict)
        write_json(draft / "distributions.json", distributions)
        audit_page.write(draft / "index.html", verdict, distributions)
    if verdict["passed"]:
        log.info("%s passed the audit", name)
    else:
        details = " ".join(
            [", ".join(verdict["failed_limits"]), *filter(None, [verdict["advice"]])]
        )
        log.warning("%s failed the audit: %s", name, details)


if __name__ == "__main__":
    run(main)
