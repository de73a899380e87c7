"""Every block of every runbook is run beside a real platform, and does what its page promises.

A page needs no other one: it is given what it starts from. Where its fault can be made, that is there first:
Diagnosis must show it, Mitigation must end it, and then Diagnosis must show that all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from autotrader.monitoring.runbook_pages import Block, Page, Place, Promise, read_pages
from autotrader.monitoring.runbooks import FOLDER
from tests.runbooks.faults import FAULTS, Fault
from tests.runbooks.shell import ROOT, Shell
from tests.runbooks.stack import Stack, running, until
from tests.runbooks.versions import Words, a_candidate, one_before

pytestmark = [pytest.mark.integration, pytest.mark.timeout(2400)]

PAGES = {page.path.as_posix(): page for page in read_pages(ROOT / FOLDER)}
DIAGNOSIS = "Diagnosis"

Given = Callable[[Stack], Words | None]

# What was so before somebody opened the page; without a word, nothing is amiss.
GIVEN: dict[str, tuple[Given, ...]] = {
    "README.md": (Stack.trade, Stack.raise_alert),
    "alerts/CircuitBreakerTripped.md": (Stack.trade,),
    "alerts/ComponentUnhealthy.md": (Stack.trade,),
    "alerts/HighLatency.md": (one_before,),
    "alerts/ModelHealthCritical.md": (Stack.trade,),
    "alerts/OperatorAlert.md": (Stack.raise_alert,),
    "alerts/PostgresDown.md": (Stack.trade,),
    "alerts/Recovery.md": (Stack.trade,),
    "alerts/SystemDown.md": (Stack.trade,),
    "alerts/TradingRestricted.md": (Stack.halt,),
    "procedures/deploy-model.md": (a_candidate,),
    "procedures/recover-from-disaster.md": (Stack.trade,),
    "procedures/respond-to-outage.md": (Stack.trade,),
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("runbooks")) as made:
        prepare(made)
        yield made


def prepare(stack: Stack) -> None:
    """What the first page tells everybody to do once."""
    preparation = PAGES["README.md"].blocks[0]
    shell = Shell(stack.folder / "preparation", stack.environment)
    assert shell.run(preparation).exit_code == 0
    exports = (stack.folder / "preparation" / "exports.sh").read_text()
    for line in exports.splitlines():
        name, _, value = line.removeprefix("declare -x ").partition("=")
        if name in ("PATH", "LOGS", "API", "PROMETHEUS", "ALERTMANAGER", "ACCOUNT", "ENVIRONMENT"):
            stack.environment[name] = value.strip('"')


@pytest.mark.parametrize("name", PAGES)
def test_a_page_does_what_it_promises(name: str, stack: Stack, tmp_path: Path) -> None:
    words: dict[str, str] = {}
    for given in GIVEN.get(name, ()):
        words |= given(stack) or {}
    page = PAGES[name]
    if fault := FAULTS.get(page.path.stem):
        failures = run_with(fault, page, stack, tmp_path)
    else:
        failures = list(run(page, page.blocks, Shell(tmp_path, stack.environment, words), stack))
    assert not failures, "\n\n".join(failures)


def test_what_tells_people_of_an_alert_leads_to_its_page(stack: Stack) -> None:
    """Whoever raised it: the application, or Prometheus by way of Alertmanager."""
    stack.raise_alert()
    told = stack.autotrader("alerts", "list", "--state", "open", "acknowledged", "resolved")
    paths = [line.strip() for line in told.splitlines() if line.startswith("    ")]
    assert paths
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def run_with(fault: Fault, page: Page, stack: Stack, folder: Path) -> list[str]:
    """Run it while its fault is there, and what told of the fault once more after that."""
    failures: list[str] = []
    diagnosis = [block for block in page.blocks if block.section == DIAGNOSIS]
    others = [block for block in page.blocks if block.section != DIAGNOSIS]
    with ExitStack() as context:
        words = context.enter_context(fault.begin(stack))
        shell = Shell(folder, stack.environment, words)
        failures += run(page, diagnosis, shell, stack, fault=fault)
        if not fault.is_mended_by_page:
            context.close()
        failures += run(page, others, shell, stack, fault=fault if fault.is_mended_by_page else None)
        if not failures:
            until(lambda: fault.is_over(stack), f"the fault of {page.path} to be over")
    told = [block for block in diagnosis if block.amiss]
    return failures or list(run(page, told, shell, stack))


def run(
    page: Page, blocks: Iterable[Block], shell: Shell, stack: Stack, *, fault: Fault | None = None
) -> Iterator[str]:
    """Run the blocks in order, with a fault or without; yields what did not do what was promised."""
    for block in blocks:
        promise = (block.amiss if fault else None) or block.promise
        if promise is None:
            continue
        beside = dict(stack.aws) if promise.place is Place.AWS else {}
        beside |= fault.variables(stack) if fault else {}
        ran = shell.run(block, beside)
        missing = unkept(promise, ran.exit_code, ran.output, shell)
        if missing:
            when = ", with its fault" if fault else ""
            text = shell.typed(block.text)
            yield f"{page.path}, line {block.line}{when}: {missing}\n{text}\n{ran.output[-2000:]}"


def unkept(promise: Promise, exit_code: int, output: str, shell: Shell) -> str:
    """What was promised and is not so; empty where all is."""
    if exit_code != promise.exit_code:
        return f"expected exit code {promise.exit_code}, was {exit_code}"
    texts = map(shell.typed, promise.contains)
    return "; ".join(f'expected "{text}", was not printed' for text in texts if text not in output)
