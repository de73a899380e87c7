"""Parameters of the DAGs as JSON schema: Airflow draws the trigger form from it and validates.

Standard library only: DAG files import it at parse time. Each value is the keyword arguments of
`airflow.sdk.Param`.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, dict[str, Any]]

DATA_RETRIES = 2  # of each task of data_pipeline

_DATE = {"type": ["null", "string"], "format": "date", "default": None}


def _names(what: str, *, known: list[str] | None = None) -> dict[str, Any]:
    """A list of names: chosen from the known ones, or typed one a line."""
    choice = {"examples": known} if known else {}
    how = "Choose from the list" if known else "One a line"
    return {
        "default": None,
        "type": ["null", "array"],
        "items": {"type": "string", "minLength": 1},
        "uniqueItems": True,
        **choice,
        "title": what.capitalize(),
        "description": f"{how}; empty means all {what} of the settings.",
    }


DATA_PIPELINE: Schema = {
    "mode": {
        "default": "incremental",
        "type": "string",
        "enum": ["incremental", "backfill", "reprocess"],
        "values_display": {
            "incremental": "incremental: from the newest stored bar, minus a day, until now",
            "backfill": "backfill: a window of dates",
            "reprocess": "reprocess: derive a day again from the archive, without asking a venue",
        },
        "title": "Mode",
        "description": "What to load. Every mode may be run twice: the tables are the same afterwards.",
    },
    "start_date": {
        **_DATE,
        "title": "Start date (backfill)",
        "description": "First day, UTC. Required for a backfill.",
    },
    "end_date": {
        **_DATE,
        "title": "End date (backfill)",
        "description": "Last day, UTC, included. Empty: until the last closed bar.",
    },
    "date": {
        **_DATE,
        "title": "Date (reprocess)",
        "description": "The day to derive again, UTC. Required for reprocess.",
    },
    "venues": _names("venues", known=["binance", "ibkr", "oanda"]),
    "instruments": _names("instruments"),
}

TRAINING_PIPELINE: Schema = {
    "lookback_days": {
        "default": None,
        "type": ["null", "integer"],
        "minimum": 1,
        "maximum": 3650,
        "title": "Lookback (days)",
        "description": "Training window of each fold. Empty: the setting (90).",
    },
    "evaluation_days": {
        "default": None,
        "type": ["null", "integer"],
        "minimum": 1,
        "maximum": 3650,
        "title": "Evaluation (days)",
        "description": "Out-of-sample window that the gates judge. Empty: the setting (730). "
        "With less history, gates that cannot decide say so.",
    },
    "models": _names("models", known=["logistic", "hist_gradient_boosting", "lightgbm"]),
    "instruments": _names("instruments"),
    "promote": {
        "default": True,
        "type": "boolean",
        "title": "Promote",
        "description": "Hand a model that passes the environment's enforced gates to deployment.",
    },
}

DEPLOYMENT_PIPELINE: Schema = {
    "model_version": {
        "default": "latest",
        "type": "string",
        "pattern": r"^(v\d+\.\d+\.\d+|\d+|latest|challenger|previous)$",
        "title": "Model version",
        "description": "Such as v1.2.0, a number, an alias, or `latest`: the newest that passed its gates. "
        "A version that failed them is refused.",
    },
    "profile": {
        "default": "standard",
        "type": "string",
        "enum": ["standard", "fast"],
        "values_display": {
            "standard": "standard: three hours in all, a look every minute",
            "fast": "fast: seconds a stage, for replayed market time",
        },
        "title": "Watches",
        "description": "How long shadow, canary, 25, 50 and 100 % are watched before the next stage.",
    },
}

BACKTEST: Schema = {
    "model_version": {
        "default": None,
        "type": ["null", "string"],
        "pattern": r"^(v\d+\.\d+\.\d+|\d+|champion|challenger|previous)$",
        "title": "Model version",
        "description": "Such as v1.2.0, a number, or an alias. Empty: buy and hold.",
    },
    "instruments": _names("instruments"),
    "start_date": {
        **_DATE,
        "title": "Start date",
        "description": "First day, UTC. Empty: as far as there is.",
    },
    "end_date": {**_DATE, "title": "End date", "description": "Last day, UTC, included. Empty: the newest."},
    "round_trip_cost_bps": {
        "default": None,
        "type": ["null", "number"],
        "minimum": 0,
        "maximum": 1000,
        "title": "Round-trip cost (bps)",
        "description": "Fees and slippage, in and out. Empty: the setting.",
    },
}

CLOSE_OF_MARKET: Schema = {
    "day": {
        **_DATE,
        "title": "Day",
        "description": "A market day in New York whose bars are to be loaded. Empty: up to now.",
    },
}

DAILY_SUMMARY: Schema = {
    "day": {
        **_DATE,
        "title": "Day",
        "description": "The market day in New York that the summary ends with. Empty: today, by market time.",
    },
}

WEEKLY_REPORT: Schema = {
    "day": {
        **_DATE,
        "title": "Day",
        "description": "A day of the week that the report is of; weeks end on Sunday at 18:00 UTC. "
        "Empty: the week that ended last.",
    },
}
