"""The documentation builds as a site; a link or an anchor that leads nowhere fails the build."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
UNREACHABLE = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the site was built once; its environment is there for the next."""
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [ROOT / "scripts/docs.sh", folder], capture_output=True, text=True, check=False, timeout=500
    )
    if done.returncode == UNREACHABLE:
        pytest.skip("needs the package index, or its packages in uv's cache")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_on_the_site(folder: Path) -> None:
    pages = sorted((ROOT / "docs").glob("*.md"))
    missing = [page.name for page in pages if not (folder / "site/docs" / page.stem / "index.html").exists()]
    assert missing == []
    home = (folder / "site/index.html").read_text()
    assert "Two commands" in home
    assert (folder / "site/runbooks/alerts/SystemDown/index.html").exists()


@pytest.mark.parametrize("link", ["docs/nowhere.md", "docs/production.md#nowhere"])
def test_a_link_that_leads_nowhere_fails_the_build(folder: Path, link: str) -> None:
    page = folder / "source/README.md"
    whole = page.read_text()
    page.write_text(f"{whole}\n[broken]({link})\n")
    try:
        done = subprocess.run(
            [folder / "venv/bin/zensical", "build", "--strict"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    finally:
        page.write_text(whole)
    assert done.returncode != 0
    assert "does not exist" in done.stdout + done.stderr
