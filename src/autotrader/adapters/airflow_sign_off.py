"""The sign-offs of production as forms in Airflow's UI, where Airflow has a human in the loop (3.1 on).

Where it has none, `sign_offs` makes no task, and `autotrader approve` is the way. Nobody is taken for
having approved because time is over.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow import __version__
from airflow.sdk import BaseOperator, Param
from packaging.version import Version

from autotrader.adapters.airflow_dag import conf, fail, requester, run, run_started_at, skip

Form: Any = None
if Version(__version__).release >= (3, 1):
    from airflow.providers.standard.operators.hitl import HITLOperator as Form

APPROVE, REJECT = "approve", "reject"
VERSION = "version"
ROLES = {"quant": "Quant Engineering", "risk": "Risk"}
# As long as a request for sign-offs is valid.
PATIENCE = timedelta(hours=72)


def sign_offs() -> list[BaseOperator]:
    """A task for each role that signs, to be chained; skipped where nobody has to sign.

    One after the other, since a form that still waits would keep a run going that somebody rejected.
    """
    if Form is None:
        return []
    return [_sign_off(role) for role in ROLES]


def _sign_off(role: str) -> BaseOperator:
    class SignOff(Form):  # type: ignore[misc]
        """Asks a person for one role, and records what they decided under their Airflow login."""

        def execute(self, context: Any) -> Any:
            needed = run(
                "deployment.sign_off_needed",
                model_version=conf()["model_version"],
                role=role,
                requested_by=requester(),
                asked_at=run_started_at(),
            )
            if not needed["needed"]:
                skip(needed["reason"])
            # What `latest` means may change while people think: they sign for what they are shown.
            context["ti"].xcom_push(key=VERSION, value=needed["version"])
            self.subject = f"{ROLES[role]}: may {needed['version']} go to production?"
            return super().execute(context)

        def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
            answer = super().execute_complete(context=context, event=event)
            (decision,) = answer["chosen_options"]
            user = answer["responded_by_user"] or {}
            state = run(
                "deployment.record_sign_off",
                model_version=context["ti"].xcom_pull(task_ids=self.task_id, key=VERSION),
                role=role,
                decision=decision,
                reason=self.params["reason"],  # as answered; left out by an API's caller, the default
                user=str(user.get("name") or user.get("id") or ""),
            )
            if decision == REJECT:
                fail(state["reason"])
            return state

    form: BaseOperator = SignOff(
        task_id=f"sign_off_{role}",
        subject=f"{ROLES[role]} signs",  # for which version is known once it runs
        body="The gate report is in the model's MLflow run. You must not have asked for this deployment, and"
        " nobody signs for both roles.",
        options=[APPROVE, REJECT],
        params={
            "reason": Param(
                "as the gate report says",
                type="string",
                minLength=1,
                title="Reason",
                description="Kept with the decision.",
            )
        },
        response_timeout=PATIENCE,
        trigger_rule="none_failed",  # the one before may be skipped
    )
    return form
