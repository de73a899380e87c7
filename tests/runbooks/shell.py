"""One shell for the blocks of one page, as an operator's: what a block exports is there for the next."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autotrader.monitoring.runbook_pages import Block

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class Ran:
    """What became of a block."""

    exit_code: int
    output: str


class Shell:
    """Runs each block in a process of its own, in the checkout; exports are carried over.

    Parameters
    ----------
    folder : Path
        For what is carried over.
    environment : Mapping
        What the first block finds.
    words : Mapping
        Examples of the page, and what an operator of this platform types in their place.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], words: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._exports = folder / "exports.sh"
        self._exports.write_text("")
        self._environment = dict(environment)
        self._words = dict(words or {})

    def typed(self, text: str) -> str:
        """The text with its examples replaced, all at once."""
        if not self._words:
            return text
        examples = "|".join(map(re.escape, self._words))
        return re.sub(examples, lambda found: self._words[found[0]], text)

    def run(self, block: Block, beside: Mapping[str, str] | None = None) -> Ran:
        """Run it as a script that ends at its first failure.

        Parameters
        ----------
        beside : Mapping
            Variables of the place that it runs beside, for this block alone.
        """
        given = dict(beside or {})
        left = f"unset {' '.join(given)}; " if given else ""
        script = (
            f'. "{self._exports}"\n'
            f"trap '{left}export -p >\"{self._exports}\"' EXIT\n"
            + "".join(f"export {name}='{value}'\n" for name, value in given.items())
            + self.typed(block.text)
        )
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Ran(done.returncode, done.stdout)
