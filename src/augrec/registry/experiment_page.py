"""How MLflow's UI shows the experiment: as model training, described, with the numbers that matter
as the visible columns. MLflow keeps all of it in tags of the experiment."""

from __future__ import annotations

import json
from typing import Any, Final

from augrec.registry.mlflow_values import metric_name

HEADLINES: Final = {
    "ndcg@10": "test/overall/ndcg@10",
    "ndcg@10 validation": "valid/overall/ndcg@10",
    "ndcg@10 1-5 items": "test/slices/1-5/ndcg@10",
    "recall@20": "test/overall/recall@20",
}
"""{short name: place in metrics.json} of what a run and a version show first: means over test
users, and next to them that over validation users, who chose."""

VIEW: Final = "augrec"
"""Key of the shared view, for the address of the experiment's page."""

_DESCRIPTION: Final = (
    "One run for each retrain, and below it one for each model, generator and search. The numbers "
    "of a retrain are those of its winner on test users, and on validation users, who chose. "
    "**verdict** says whether generated data was accepted, **winner** which recommender won on "
    "which training data; the description of a run explains both, and links to its report and to "
    "Airflow. The registered model *augrec-recommender* holds the winners: `champion` is the one "
    "that serves."
)
_OPEN: Final = "Show the retrains with their most important numbers"
_QUERY: Final = f"workflowType=machine_learning&viewStateShareKey={VIEW}"
_COLUMNS: Final = (
    "attributes.`Duration`",
    *(f"metrics.`{metric_name(name)}`" for name in HEADLINES),
    "tags.`augrec.verdict`",
    "tags.`augrec.winner`",
    "tags.`augrec.commit`",
)


def tags(page: str) -> dict[str, str]:
    """The experiment's tags.

    Args:
        page: address of the experiment's runs. MLflow shows its own columns there; the description
            links to those of `VIEW` in its first line, the only one that is shown at once.
    """
    view = {
        "searchFilter": "tags.`augrec.role` = 'run'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(_COLUMNS),
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "groupBy": None,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "compareRunSections": [_section()],
        "compareRunCharts": [_chart(metric_name(name)) for name in HEADLINES],
    }
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": f"[{_OPEN}]({page}?{_QUERY})\n\n{_DESCRIPTION}",
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
    }


def _section() -> dict[str, Any]:
    """The charts' only section, as MLflow's page writes it."""
    return {
        "uuid": VIEW,
        "name": "Retrains",
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": True,
        "columns": len(HEADLINES) // 2,
    }


def _chart(metric: str) -> dict[str, Any]:
    """Bars of one metric, a bar for each run, as MLflow's page writes it."""
    return {
        "type": "BAR",
        "uuid": f"{VIEW}-{metric}",
        "runsCountToCompare": 20,
        "metricSectionId": VIEW,
        "deleted": False,
        "isGenerated": True,
        "metricKey": metric,
    }
