"""Does the MLflow server let us in?"""

from __future__ import annotations

import asyncio

from autotrader.adapters.mlflow_rest import MlflowRest
from autotrader.domain.errors import ConfigurationError, NotFound, Rejected, Unreachable
from autotrader.ports.credentials import CredentialReport, CredentialState


class MlflowCredential:
    """Checks a tracking URI, user and password included where it has them, by one cheap search.

    Parameters
    ----------
    uri : str
        As `MlflowRest` takes it.
    """

    name = "mlflow"

    def __init__(self, uri: str) -> None:
        self._uri = uri

    async def verify(self) -> CredentialReport:
        """Search one experiment."""
        return await asyncio.to_thread(self._verify)

    def _verify(self) -> CredentialReport:
        try:
            server = MlflowRest(self._uri)
            server.get("experiments/search", max_results=1)
        except Unreachable as error:
            return CredentialReport(self.name, CredentialState.UNREACHABLE, str(error))
        except (ConfigurationError, Rejected, NotFound) as error:
            return CredentialReport(self.name, CredentialState.WRONG, str(error))
        return CredentialReport(self.name, CredentialState.FINE, f"{server.uri} lets us in")
