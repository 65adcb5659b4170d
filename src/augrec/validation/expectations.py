"""Runs suites with Great Expectations; the only module that imports it.

Contexts are ephemeral and built in code, so that runs share no state and send nothing over the
network.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import polars as pl

from augrec.core.errors import PermanentError
from augrec.validation.parts import parts, together
from augrec.validation.suites import Check, Suite

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when Great Expectations is imported
# importing Great Expectations logs hundreds of lines
logging.getLogger("great_expectations").setLevel(logging.WARNING)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import great_expectations as gx
    import great_expectations.expectations as gxe
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.data_context import EphemeralDataContext

_SITE: Final = "site"
_RUN: Final = "snapshot"
# datetime ends with the year 9999; timestamps read in a wrong unit can lie beyond
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Outcome:
    """The result of one check.

    Attributes:
        suite: its suite's name.
        check: the check.
        success: whether it holds.
        observed: the observed value; for checks on rows the number of unexpected rows.
        rows: number of rows checked; None for checks on the whole table.
        column: the checked column; None for checks on the whole table.
    """

    suite: str
    check: Check
    success: bool
    observed: Any
    rows: int | None
    column: str | None


def run(suites: Sequence[Suite], moment: datetime) -> tuple[list[Outcome], dict[str, str]]:
    """Run every suite on its table.

    Args:
        suites: with distinct names.
        moment: used as the time of the run instead of the clock, so that the same data gives the
            same pages.

    Returns:
        The outcomes in the order of suites and checks, and {suite name: Data Docs page (HTML)}.

    Raises:
        PermanentError: an expectation could not be computed.
    """
    with tempfile.TemporaryDirectory() as site, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = _context(Path(site))
        outcomes = [outcome for suite in suites for outcome in _run_suite(context, suite, moment)]
        context.build_data_docs()
        pages = {
            suite.name: next((Path(site) / "validations" / suite.name).rglob("*.html")).read_text(
                "utf-8"
            )
            for suite in suites
        }
    return outcomes, pages


def _context(site: Path) -> EphemeralDataContext:
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    pages = {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": index}
    # the default site would leave its temporary directory behind
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    config.data_docs_sites = {_SITE: pages}
    return gx.get_context(mode="ephemeral", project_config=config)


def _run_suite(context: EphemeralDataContext, suite: Suite, moment: datetime) -> list[Outcome]:
    asset = context.data_sources.add_pandas(suite.name).add_dataframe_asset(suite.name)
    expectations = [_expectation(check, position) for position, check in enumerate(suite.checks)]
    definition = gx.ValidationDefinition(
        name=suite.name,
        data=asset.add_batch_definition_whole_dataframe("whole"),
        suite=context.suites.add(gx.ExpectationSuite(name=suite.name, expectations=expectations)),
    )
    context.validation_definitions.add(definition)
    run_id = gx.RunIdentifier(run_name=_RUN, run_time=moment)
    result = together(
        [
            definition.run(
                batch_parameters={"dataframe": _bounded(part).to_pandas()},
                result_format="SUMMARY",
                run_id=run_id,
            )
            for part in parts(suite.table, suite.part_by)
        ]
    )
    found = {
        r.expectation_config.meta["position"]: r for r in result.results if r.expectation_config
    }
    outcomes = [_outcome(suite, check, found[n]) for n, check in enumerate(suite.checks)]
    _store_reproducible(context, suite.name, run_id, result)
    return outcomes


def _expectation(check: Check, position: int) -> gxe.Expectation:
    kind = getattr(gxe, check.expectation)
    return kind(
        **check.arguments,
        severity="critical" if check.critical else "warning",
        meta={"position": position},
        description=f"{check.claim}{' (critical)' if check.critical else ''}",
    )


def _bounded(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.selectors.datetime().clip(_FIRST, _LAST))


def _outcome(suite: Suite, check: Check, result: Any) -> Outcome:
    _require_computed(suite, check, result.exception_info)
    found: Mapping[str, Any] = result.result
    return Outcome(
        suite=suite.name,
        check=check,
        success=bool(result.success),
        observed=found.get("observed_value", found.get("unexpected_count")),
        rows=found.get("element_count"),
        column=check.arguments.get("column"),
    )


def _require_computed(suite: Suite, check: Check, info: Mapping[str, Any] | None) -> None:
    # a single record, or one for each metric
    records = [
        info or {},
        *(record for record in (info or {}).values() if isinstance(record, Mapping)),
    ]
    problems = [record["exception_message"] for record in records if record.get("raised_exception")]
    if problems:
        raise PermanentError(
            f"an expectation could not be computed: {problems[0]}",
            where=f"{check.expectation} ({check.claim}) of the suite {suite.name}",
            fix="check the types in that column",
        )


def _store_reproducible(
    context: EphemeralDataContext,
    name: str,
    run_id: gx.RunIdentifier,
    result: ExpectationSuiteValidationResult,
) -> None:
    """Store the result again without load times, fingerprints and identifiers, which differ between
    runs."""
    store = context.validation_results_store
    for key in store.list_keys():
        if (
            isinstance(key, ValidationResultIdentifier)
            and key.expectation_suite_identifier.name == name
        ):
            store.remove_key(key)
    meta = cast(dict[str, Any], result.meta)
    for volatile in ("batch_markers", "batch_spec", "batch_parameters", "active_batch_definition"):
        meta.pop(volatile, None)
    stored = ValidationResultIdentifier(
        expectation_suite_identifier=ExpectationSuiteIdentifier(name),
        run_id=run_id,
        batch_identifier=name,
    )
    store.set(stored, result)
