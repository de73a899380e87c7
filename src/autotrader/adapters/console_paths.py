"""Addresses of the console's pages, for the console itself and for the links that Airflow shows."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

PREFIX = "/trading"
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to


def is_web(url: str) -> bool:
    """Whether a browser may be sent there; `javascript:` and the like are not."""
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:  # such as of a host in brackets that is no IPv6 address
        return False


def web_address(url: str | None) -> str | None:
    """Where a browser may be sent, without the user and password that it may have; None elsewhere."""
    if not url or not is_web(url):
        return None
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def api_docs_url(host: str, port: int, *, tls: bool) -> str | None:
    """The API's own pages; None where it listens everywhere, which is no address."""
    if host in _EVERYWHERE:
        return None
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/docs"


def page_url(root: str, path: str = "") -> str:
    """A page of the console.

    Parameters
    ----------
    root : str
        Path below which Airflow's UI is served: empty, or such as `/airflow`.
    path : str
    """
    return f"{root}{PREFIX}/{quote(path)}"


def dag_url(root: str, dag_id: str) -> str:
    """A DAG's page in Airflow's UI."""
    return f"{root}/dags/{quote(dag_id, safe='')}"


def report_url(root: str, folder: str, file: str) -> str:
    """A file of a health report."""
    return page_url(root, f"reports/health/{folder}/{file}")


def runbook_url(root: str, base: str, path: str) -> str | None:
    """Where a runbook is read: in the documentation where it is on the web, else in the console.

    Parameters
    ----------
    base : str
        The setting `monitoring.runbook_url`.
    path : str
        Of the page below it, or a URL of its own; None is returned for what is neither.
    """
    if is_web(path):
        return path
    if not path or path.startswith("/") or ":" in path or ".." in path.split("/"):
        return None
    return f"{base}/{quote(path)}" if is_web(base) else page_url(root, f"runbooks/{path}")
