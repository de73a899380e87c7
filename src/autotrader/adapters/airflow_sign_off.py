"""The sign-offs of production as forms in Airflow's UI, where Airflow has a human in the loop (3.1 on).

Where it has none, `sign_offs` makes no task, and `autotrader approve` is the way. Nobody is taken for
having approved because time is over.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, Param

from autotrader.adapters.airflow_dag import conf, fail, requester, run, run_started_at, skip

Form: Any
try:
    from airflow.providers.standard.operators.hitl import HITLOperator as Form
except Exception:  # noqa: BLE001 - older Airflows raise an error of their own, which newer ones lack
    Form = None

APPROVE, REJECT = "approve", "reject"
ROLES = {"quant": "Quant Engineering", "risk": "Risk"}
# As long as a request for sign-offs is valid.
PATIENCE = timedelta(hours=72)


def sign_offs() -> list[BaseOperator]:
    """A task for each role that signs; skipped where the environment asks for none."""
    if Form is None:
        return []
    return [_sign_off(role) for role in ROLES]


def _sign_off(role: str) -> BaseOperator:
    class SignOff(Form):  # type: ignore[misc]
        """Asks a person for one role, and records what they decided under their Airflow login."""

        def execute(self, context: Any) -> Any:
            needed = run("deployment.sign_off_needed", model_version=conf()["model_version"])
            if not needed["needed"]:
                skip(needed["reason"])
            return super().execute(context)

        def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
            answer = super().execute_complete(context=context, event=event)
            (decision,) = answer["chosen_options"]
            user = answer["responded_by_user"] or {}
            state = run(
                "deployment.record_sign_off",
                model_version=conf()["model_version"],
                role=role,
                decision=decision,
                reason=answer["params_input"]["reason"],
                user=str(user.get("name") or user.get("id") or ""),
                requested_by=requester(),
                asked_at=run_started_at(),
            )
            if decision == REJECT:
                fail(state["reason"])
            return state

    form: BaseOperator = SignOff(
        task_id=f"sign_off_{role}",
        subject=f"{ROLES[role]}: may {{{{ params.model_version }}}} go to production?",
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
    )
    return form
