"""Airflow's own login as the door of a page that its server carries: Airflow does not guard those itself."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from jwt import InvalidTokenError

from autotrader.ports.visitors import Admission, Visit


class AirflowDoor:
    """Implements `autotrader.ports.visitors.Door`: whoever may see Airflow's UI, whatever its auth manager.

    The token comes with the UI's cookie or as a bearer; the auth manager verifies signature, audience,
    expiry and revocation, as it does for Airflow's own API.
    """

    async def __call__(self, *, authorization: str | None, cookies: Mapping[str, str]) -> Visit:
        manager = get_auth_manager()
        token = _bearer(authorization) if authorization else cookies.get(COOKIE_NAME_JWT_TOKEN)
        if token:
            try:
                user = await manager.get_user_from_token(token)
            except InvalidTokenError:  # an expired one is one
                pass
            else:
                may = manager.is_authorized_view(access_view=AccessView.WEBSITE, user=user)
                return Visit(Admission.ADMITTED if may else Admission.FORBIDDEN, user.get_name())
        return Visit(Admission.UNKNOWN, sign_in=manager.get_url_login())


def _bearer(authorization: str) -> str | None:
    kind, _, token = authorization.partition(" ")
    return token.strip() if kind.lower() == "bearer" else None
