"""The report that people open: our summary on top, Evidently's page below; nothing from outside.

<home>/reports/health/<market time>-<run>/index.html      the summary
                                          evidently.html  distributions, side by side
                                          verdict.json    for programs
<home>/reports/health/latest.html                         leads to the newest
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl

from autotrader.command import to_plain
from autotrader.domain.thresholds import DRIFT as BOUNDS
from autotrader.features.reference.files import Reference
from autotrader.files import write_atomically
from autotrader.monitoring.checks import DRIFT, PERFORMANCE, QUALITY
from autotrader.monitoring.verdict import HealthVerdict

INDEX, EVIDENTLY, VERDICT, LATEST = "index.html", "evidently.html", "verdict.json", "latest.html"

_ROWS = 2_000
_KEPT_REPORTS = 24 * 7
_KEPT_PAGES = 24  # each is 6 MB, most of it Evidently's own code
_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def write_page(
    verdict: HealthVerdict,
    *,
    folder: Path,
    run_key: str,
    current: pl.DataFrame | None,
    reference: Reference | None,
) -> Path:
    """Write the report of a check; asked for again with the same key, it is written anew.

    Parameters
    ----------
    verdict : HealthVerdict
    folder : Path
        Of all reports.
    run_key : str
    current : pl.DataFrame or None
        What was served, with the reference's columns; None or empty: there is no Evidently page.
    reference : Reference or None

    Returns
    -------
    Path
        Of the summary.
    """
    name = f"{verdict.market_time:%Y%m%dT%H%M%S}-{_NAME.sub('-', run_key)}"
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    moved = verdict.checks[DRIFT].figures.get("features", [])
    write_atomically(place / VERDICT, json.dumps(to_plain(verdict), indent=1).encode())
    page = None
    if current is not None and reference is not None and current.height:
        page = EVIDENTLY
        write_evidently(place / page, current, reference, first=[f["name"] for f in moved])
    write_atomically(place / INDEX, _render(verdict, moved, page).encode())
    write_atomically(folder / LATEST, _forward(f"{name}/{INDEX}").encode())
    _tidy(folder)
    return place / INDEX


def write_evidently(path: Path, current: pl.DataFrame, reference: Reference, *, first: Sequence[str]) -> None:
    """Evidently's drift report of a sample of the rows, PSI and our threshold, moved columns first."""
    # Eight seconds to import: only here.
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    compared = {*reference.features.names, *reference.predictions.names}
    names = [n for n in reference.sample_names if n in compared and n in current.columns]
    names.sort(key=lambda n: list(first).index(n) if n in first else len(first))
    here = current[np.linspace(0, current.height - 1, min(_ROWS, current.height)).astype(np.int64).tolist()]
    there = pl.DataFrame(reference.sample, schema=list(reference.sample_names), orient="row")
    # Evidently counts infinities into its bins and stops at them.
    finite = [pl.when(pl.col(n).is_finite()).then(n).alias(n) for n in names]
    here, there = here.select(finite), there.select(finite)
    names = [n for n in names if here[n].count() and there[n].count()]
    definition = DataDefinition(numerical_columns=names)
    report = Report(
        [DataDriftPreset(columns=names, num_method="psi", num_threshold=BOUNDS.psi_warning)],
        include_tests=False,
    )
    snapshot = report.run(
        Dataset.from_pandas(here.select(names).to_pandas(), definition),
        Dataset.from_pandas(there.select(names).to_pandas(), definition),
    )
    snapshot.save_html(str(path))


def _render(verdict: HealthVerdict, moved: Sequence[Mapping[str, Any]], evidently: str | None) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": _number,
        "chance": _chance,
        "share": lambda x: "–" if x is None else f"{x:.1%}",
        "instant": lambda x: f"{x:%Y-%m-%d %H:%M}" if hasattr(x, "year") else str(x)[:16].replace("T", " "),
    }
    drift = verdict.checks[DRIFT].figures
    return environment.get_template("health_report.html.j2").render(
        verdict=verdict,
        drift=drift,
        features=moved,
        shown=max(12, sum(f["severity"] != "healthy" for f in moved)),
        quality=verdict.checks[QUALITY],
        performance=verdict.checks[PERFORMANCE],
        bounds=BOUNDS,
        simulated="SIMULATED" in drift.get("reference", {}).get("sources", ()),
        evidently=evidently,
    )


def _forward(to: str) -> str:
    refresh = f'<meta http-equiv="refresh" content="0; url={to}">'
    return f'<!doctype html>{refresh}<a href="{to}">the newest report</a>\n'


def _tidy(folder: Path) -> None:
    """Delete the oldest reports, and of those that stay the pages that take most room."""
    verdicts = sorted(folder.glob(f"*/{VERDICT}"), key=lambda path: path.stat().st_mtime_ns)
    reports = [verdict.parent for verdict in verdicts]
    for old in reports[:-_KEPT_REPORTS]:
        shutil.rmtree(old)
    for old in reports[-_KEPT_REPORTS:-_KEPT_PAGES]:
        (old / EVIDENTLY).unlink(missing_ok=True)


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def _chance(value: float | None) -> str:
    if value is None:
        return "not known"
    return f"{value:.2f}" if value >= 0.01 else f"{value:.0e}"
