"""A mail server in memory, and a real one on loopback that misbehaves on request."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session


@dataclass(frozen=True)
class Delivered:
    sender: str
    recipient: str
    content: bytes


@dataclass
class InMemoryMailServer:
    """Takes on what it is given, or fails as it is told: the next failures, one a call."""

    delivered: list[Delivered] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    asked: int = 0

    def deliver(self, message: bytes, *, sender: str, recipient: str) -> None:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        self.delivered.append(Delivered(sender, recipient, message))


@dataclass
class SmtpServer:
    """What the server on loopback was sent, and what it answers.

    Attributes
    ----------
    replies : dict of str to list of str
        Of `MAIL`, `RCPT`, `DATA`: the next answers; once they are used up, all is well.
    delay_seconds : float
        Before the answer to a message.
    hangs_up : bool
        Whether it cuts the connection instead of saying goodbye.
    """

    port: int = 0
    delivered: list[Delivered] = field(default_factory=list)
    replies: dict[str, list[str]] = field(default_factory=dict)
    log_ins: list[tuple[bytes, bool]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    attempts: int = 0
    delay_seconds: float = 0.0
    hangs_up: bool = False

    def _next(self, command: str) -> str | None:
        waiting = self.replies.get(command)
        return waiting.pop(0) if waiting else None

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.attempts += 1
        self.encrypted.append(session.ssl is not None)
        if refused := self._next("MAIL"):
            return refused
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refused := self._next("RCPT"):
            return refused
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.delay_seconds:
            time.sleep(self.delay_seconds)
        if refused := self._next("DATA"):
            return refused
        content = envelope.content
        assert isinstance(content, bytes)
        assert envelope.mail_from is not None
        self.delivered += [Delivered(envelope.mail_from, to, content) for to in envelope.rcpt_tos]
        return "250 OK"

    async def handle_QUIT(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.hangs_up:
            server.transport.abort()
        return "221 Bye"

    def authenticate(self, server: Any, session: Session, envelope: Envelope, how: str, given: Any) -> Any:
        assert isinstance(given, LoginPassword)
        accepted = given.password == b"right"
        self.log_ins.append((given.login, accepted))
        return AuthResult(success=accepted, handled=False)


class _Listening(Controller):
    """On the port that it has got; to find one first is to lose it now and then."""

    def _trigger_server(self) -> None:
        assert self.server is not None
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextlib.contextmanager
def smtp_server(*, certificate: Path | None = None, wants_log_in: bool = False) -> Iterator[SmtpServer]:
    """A server on loopback; with a certificate it offers STARTTLS, and a log-in after it."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = SmtpServer()
    controller = _Listening(
        server,
        hostname="127.0.0.1",
        port=0,
        ready_timeout=60,
        tls_context=context,
        authenticator=server.authenticate,
        auth_required=wants_log_in,
        auth_require_tls=True,
    )
    controller.start()
    server.port = controller.port
    try:
        yield server
    finally:
        controller.stop()


def make_certificate(path: Path) -> Path:
    """A key and a certificate of its own for 127.0.0.1, in one file."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path
