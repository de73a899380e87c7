"""### Market data into bars and features

| step | what it does |
|---|---|
| plan_ingestion | chooses a window for each instrument |
| extract_market_data | fetches the venue's pages, byte for byte, into a staging folder |
| archive_raw_data | puts them into the archive, before anything is derived from them |
| validate_data | reads bars from the pages; checks them; bad rows go to quarantine |
| commit_bars | one commit for all instruments: new bars, restatements with their history |
| transform_features | computes the features of what changed |
| load_to_feature_store | one commit for all instruments |
| check_data_health | completeness, freshness and the checks above as one verdict |

Every step may be repeated: the tables are the same afterwards. A venue that fails does not stop the
others, but its task fails, and so does the run. An instrument that fails does not stop the others of its
task: they are stored, and `check_data_health` fails with its reason. Mode `reprocess` reads the archive
instead of a venue.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, dag, task, task_group

from autotrader.adapters.airflow_dag import conf, cron, default_args, form, label, mapped, run, run_key
from autotrader.domain.schedules import DATA_RUN
from autotrader.pipelines.params import DATA_PIPELINE, DATA_RETRIES

BARS = Asset("bars")
FEATURES = Asset("features")


@dag(
    dag_id="data_pipeline",
    description="Market data of all venues into bars and features",
    doc_md=__doc__,
    schedule=cron(DATA_RUN.cron),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=DATA_RUN.deadline,
    default_args=default_args(retries=DATA_RETRIES, retry_delay=timedelta(minutes=5)),
    params=form(DATA_PIPELINE),
    tags=["autotrader", "data"],
)
def data_pipeline() -> None:
    @task
    def plan_ingestion() -> list[dict[str, Any]]:
        return run("data.plan_ingestion", run_key=run_key(), **conf())

    @task(map_index_template="{{ label }}")
    def extract_market_data(work: dict[str, Any]) -> dict[str, Any]:
        label(work["label"])
        return run("data.extract_market_data", work=work)

    @task(map_index_template="{{ label }}")
    def archive_raw_data(work: dict[str, Any]) -> dict[str, Any]:
        label(work["label"])
        return run("data.archive_raw_data", work=work)

    @task(map_index_template="{{ label }}")
    def validate_data(work: dict[str, Any]) -> dict[str, Any]:
        label(work["label"])
        return run("data.validate_data", work=work)

    @task_group(prefix_group_id=False)
    def ingest(work: dict[str, Any]) -> Any:
        return validate_data(archive_raw_data(extract_market_data(work)))

    @task(trigger_rule="all_done", outlets=[BARS])
    def commit_bars(validated: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return run("data.commit_bars", run_key=run_key(), validated=mapped(validated))

    @task(map_index_template="{{ label }}")
    def transform_features(work: dict[str, Any]) -> dict[str, Any]:
        label(work["label"])
        return run("data.transform_features", work=work)

    @task(trigger_rule="none_failed", outlets=[FEATURES])
    def load_to_feature_store(transformed: list[dict[str, Any]]) -> dict[str, Any]:
        return run("data.load_to_feature_store", run_key=run_key(), transformed=mapped(transformed))

    @task(trigger_rule="all_done")
    def check_data_health(
        planned: list[dict[str, Any]], validated: list[dict[str, Any]], loaded: dict[str, Any] | None
    ) -> dict[str, Any]:
        return run(
            "data.check_data_health",
            run_key=run_key(),
            planned=mapped(planned),
            validated=mapped(validated),
            loaded=loaded,
        )

    planned = plan_ingestion()
    validated = ingest.expand(work=planned)
    loaded = load_to_feature_store(transform_features.expand(work=commit_bars(validated)))
    check_data_health(planned, validated, loaded)


data_pipeline()
