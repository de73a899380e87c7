"""A mail server behind SMTP: STARTTLS that is never given up, and retries of what is transient."""

from __future__ import annotations

import contextlib
import ipaddress
import smtplib
import ssl
from collections.abc import Iterator

import structlog
import tenacity

from autotrader.config.settings import PREFIX, MailSettings
from autotrader.domain.errors import ConfigurationError, Rejected, Throttled, Unreachable

ATTEMPTS = 3  # contract: SMTP 3 tries, 5 s
PAUSE_SECONDS = 5.0
TIMEOUT_SECONDS = 10.0
_CLOSING = 421  # RFC 5321: may be the answer to any command

log = structlog.get_logger(__name__)


class SmtpMailServer:
    """One connection a message.

    Certificates are checked against the system's authorities (`SSL_CERT_FILE` names others).

    Parameters
    ----------
    settings : MailSettings
        With a host.
    pause_seconds, timeout_seconds : float
        Between two tries; for each answer of the server.

    Raises
    ------
    ConfigurationError
        If there is no host, or a password would cross a network in the clear.
    """

    def __init__(
        self,
        settings: MailSettings,
        *,
        pause_seconds: float = PAUSE_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        if settings.host is None:
            raise ConfigurationError(f"{PREFIX}MAIL__HOST: expected a mail server, was empty")
        if settings.user and not settings.password:
            raise ConfigurationError(f"{PREFIX}MAIL__PASSWORD: expected one beside MAIL__USER, was empty")
        if settings.user and not settings.starttls and not _is_loopback(settings.host):
            raise ConfigurationError(
                f"{PREFIX}MAIL__STARTTLS: expected true where {settings.host} is sent a password, was false"
            )
        self._settings = settings
        self._host = settings.host
        self._pause_seconds = pause_seconds
        self._timeout_seconds = timeout_seconds

    def deliver(self, message: bytes, *, sender: str, recipient: str) -> None:
        tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_fixed(self._pause_seconds),
            retry=tenacity.retry_if_exception_type(Unreachable),
            before_sleep=_log_retry,
            reraise=True,
        )(self._try, message, sender, recipient)

    def _try(self, message: bytes, sender: str, recipient: str) -> None:
        with self._failures():
            server = smtplib.SMTP(self._host, self._settings.port, timeout=self._timeout_seconds)
            try:
                if self._settings.starttls:
                    self._start_tls(server)
                self._log_in(server)
                server.sendmail(sender, [recipient], message)
                # The message is taken on: what becomes of the farewell must not have it sent again.
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    server.quit()
            finally:
                server.close()

    def _start_tls(self, server: smtplib.SMTP) -> None:
        server.ehlo()
        if not server.has_extn("starttls"):
            raise ConfigurationError(
                f"expected STARTTLS of {self._name}, was not offered: nothing is sent in the clear "
                f"(for a relay on this machine, {PREFIX}MAIL__STARTTLS=false)"
            )
        server.starttls(context=ssl.create_default_context())

    def _log_in(self, server: smtplib.SMTP) -> None:
        user, password = self._settings.user, self._settings.password
        if user and password:
            try:
                server.login(user, password.get_secret_value())
            except smtplib.SMTPNotSupportedError:
                raise ConfigurationError(
                    f"expected {self._name} to offer a log-in for {PREFIX}MAIL__USER, was none"
                ) from None

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Name what failed in the words of `autotrader.domain.errors`."""
        try:
            yield
        except smtplib.SMTPRecipientsRefused as error:
            ((recipient, (code, reply)),) = error.recipients.items()
            raise self._of_message(code, reply, f"recipient {recipient}") from error
        except smtplib.SMTPDataError as error:
            raise self._of_message(error.smtp_code, error.smtp_error, "the message") from error
        except smtplib.SMTPAuthenticationError as error:
            raise self._of_server(
                error, f"{PREFIX}MAIL__USER and {PREFIX}MAIL__PASSWORD to be accepted"
            ) from error
        except smtplib.SMTPSenderRefused as error:
            raise self._of_server(error, f"{PREFIX}MAIL__SENDER to be accepted") from error
        except smtplib.SMTPResponseException as error:
            raise self._of_server(error, "to be let in") from error
        except ssl.SSLCertVerificationError as error:
            raise ConfigurationError(
                f"expected a certificate for {self._host} that can be trusted, was one that cannot: "
                f"{error.verify_message}"
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            raise Unreachable(f"{self._name} did not answer as a mail server: {error}") from error

    def _of_message(self, code: int, reply: bytes | str, what: str) -> Unreachable | Rejected:
        said = f"{self._name} said {code} {_text(reply)} to {what}"
        if code == _CLOSING:
            return Unreachable(said)
        if code < 500:
            return Throttled(said, retry_after_seconds=self._pause_seconds)
        return Rejected(said)

    def _of_server(
        self, error: smtplib.SMTPResponseException, expected: str
    ) -> Unreachable | ConfigurationError:
        said = f"{self._name} said {error.smtp_code} {_text(error.smtp_error)}"
        # 1 to 3 hundred, or -1: an answer that does not fit the question, so that nothing is known.
        if error.smtp_code < 500:
            return Unreachable(said)
        return ConfigurationError(f"expected {expected}: {said}")

    @property
    def _name(self) -> str:
        return f"{self._host}:{self._settings.port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _text(reply: bytes | str) -> str:
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    return " ".join(text.split())[:200]


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("mail is tried again", attempt=state.attempt_number, error=str(error))
