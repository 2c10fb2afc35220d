"""A pack is mailed to all recipients or none, under its given id, and a failure says whether to retry."""

import socket
import ssl
from asyncio import WriteTransport
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from month_end.mail import MailError, send_pack
from month_end.pack import PackFiles

MESSAGE_ID = "<close-pack-2026-10-v1.0a1b2c@northlight.example>"
Send = Callable[..., str]


@dataclass
class Mailbox:
    """A mail server that keeps what it takes and refuses what it is told to."""

    taken: list[Envelope] = field(default_factory=list[Envelope])
    refuse_recipient: str = ""
    refuse_content: bool = False
    hang_up: bool = False

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address == self.refuse_recipient:
            return "550 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.hang_up:
            assert isinstance(server.transport, WriteTransport)
            server.transport.abort()
        if self.refuse_content:
            return "554 Looks like spam"
        self.taken.append(envelope)
        return "250 Queued as 42."

    def messages(self) -> list[EmailMessage]:
        return [_parsed(envelope) for envelope in self.taken]

    def message(self) -> EmailMessage:
        (message,) = self.messages()
        return message


def _parsed(envelope: Envelope) -> EmailMessage:
    assert isinstance(envelope.content, bytes)
    message = message_from_bytes(envelope.content, policy=default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def server(mailbox: Mailbox) -> Iterator[Controller]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def files(tmp_path: Path) -> PackFiles:
    workbook, markdown = tmp_path / "close-pack-2026-10-v1.xlsx", tmp_path / "close-pack-2026-10-v1.md"
    workbook.write_bytes(b"PK\x03\x04 any bytes \x00\xff")
    markdown.write_text("# Close pack\n\nCafé 12,480.00\n", encoding="utf-8")
    return PackFiles(workbook=workbook, markdown=markdown, digest="0a1b2c")


@pytest.fixture
def send(server: Controller, files: PackFiles) -> Send:
    def sending(**changes: Any) -> str:
        arguments: dict[str, Any] = {
            "to": ["controller@northlight.example"],
            "subject": "Close pack 2026-10",
            "body": "The pack is attached.\n",
            "host": "127.0.0.1",
            "port": server.port,
            "message_id": MESSAGE_ID,
            "sender": "close@northlight.example",
            "timeout": 5.0,
        }
        return send_pack(files, **(arguments | changes))

    return sending


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refused(send: Send, **changes: Any) -> MailError:
    with pytest.raises(MailError) as refusal:
        send(**changes)
    return refusal.value


def test_the_mail_arrives_with_its_headers_and_text(send: Send, mailbox: Mailbox) -> None:
    assert send(subject="Close pack für 2026-10", body="Grüße\n") == "Queued as 42"
    message = mailbox.message()
    assert message["Message-ID"] == MESSAGE_ID
    assert message["Subject"] == "Close pack für 2026-10"
    assert message["From"] == "close@northlight.example"
    assert message["To"] == "controller@northlight.example"
    assert message["Date"]
    text = message.get_body()
    assert text is not None
    assert text.get_content().strip() == "Grüße"


def test_both_files_are_attached_unchanged(send: Send, mailbox: Mailbox, files: PackFiles) -> None:
    send()
    workbook, markdown = mailbox.message().iter_attachments()
    assert workbook.get_filename() == files.workbook.name
    assert workbook.get_payload(decode=True) == files.workbook.read_bytes()
    assert workbook.get_content_type().endswith("spreadsheetml.sheet")
    assert markdown.get_filename() == files.markdown.name
    assert markdown.get_payload(decode=True) == files.markdown.read_bytes()


def test_sending_again_keeps_the_message_id(send: Send, mailbox: Mailbox) -> None:
    send()
    send()
    assert [message["Message-ID"] for message in mailbox.messages()] == [MESSAGE_ID, MESSAGE_ID]


def test_the_mail_passes_servers_that_take_ascii_only(send: Send, mailbox: Mailbox) -> None:
    send(subject="Für Oktober", body="Grüße\n")
    content = mailbox.taken[0].content
    assert isinstance(content, bytes)
    assert content.isascii()


def test_every_recipient_gets_it(send: Send, mailbox: Mailbox) -> None:
    send(to=["a@northlight.example", "b@northlight.example"])
    assert mailbox.taken[0].rcpt_tos == ["a@northlight.example", "b@northlight.example"]


def test_one_refused_recipient_means_nobody_gets_it(send: Send, mailbox: Mailbox) -> None:
    mailbox.refuse_recipient = "b@northlight.example"
    refusal = refused(send, to=["a@northlight.example", "b@northlight.example"])
    assert "b@northlight.example: 550 No such mailbox" in str(refusal)
    assert not refusal.may_have_been_sent
    assert not mailbox.taken


def test_refused_content_was_not_sent(send: Send, mailbox: Mailbox) -> None:
    mailbox.refuse_content = True
    refusal = refused(send)
    assert "554 Looks like spam" in str(refusal)
    assert not refusal.may_have_been_sent


def test_a_connection_lost_after_the_content_may_have_sent_it(send: Send, mailbox: Mailbox) -> None:
    mailbox.hang_up = True
    assert refused(send).may_have_been_sent


def test_an_absent_server_is_named(send: Send) -> None:
    port = free_port()
    refusal = refused(send, port=port)
    assert f"127.0.0.1:{port}" in str(refusal)
    assert not refusal.may_have_been_sent


@pytest.mark.parametrize("changes", [{"port": 70000}, {"host": "no\nhost"}, {"host": "a" * 300}, {"host": "x..y"}])
def test_an_impossible_server_is_a_mail_error(send: Send, changes: dict[str, Any]) -> None:
    assert not refused(send, **changes).may_have_been_sent


def test_a_silent_server_times_out(send: Send) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        refusal = refused(send, port=silent.getsockname()[1], timeout=0.2)
    assert not refusal.may_have_been_sent


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subject", "Hello\r\nBcc: thief@example.com"),
        ("subject", "Hello\nX: y"),
        ("subject", "Hello\u2028X"),
        ("subject", "x" * 501),
        ("sender", "close@northlight.example\r\nBcc: thief@example.com"),
        ("sender", "Close <close@northlight.example>"),
        ("sender", ""),
        ("to", ["controller@northlight.example\nBcc: thief@example.com"]),
        ("to", ["a@northlight.example, thief@example.com"]),
        ("to", ["a@northlight.example> SIZE=1"]),
        ("to", ["a@b@c.example"]),
        ("to", []),
        ("to", "controller@northlight.example"),
        ("message_id", "<a@b.example>\r\nBcc: thief@example.com"),
        ("message_id", "no-brackets@b.example"),
        ("message_id", ""),
    ],
)
def test_a_header_that_is_more_than_it_says_is_refused(send: Send, mailbox: Mailbox, name: str, value: object) -> None:
    refusal = refused(send, **{name: value})
    assert name in str(refusal)
    assert not mailbox.taken


def test_a_missing_file_is_refused_before_anything_is_sent(send: Send, mailbox: Mailbox, files: PackFiles) -> None:
    files.workbook.unlink()
    assert files.workbook.name in str(refused(send))
    assert not mailbox.taken


def test_a_server_without_encryption_is_refused_when_encryption_is_asked_for(send: Send, mailbox: Mailbox) -> None:
    assert "STARTTLS" in str(refused(send, starttls=True))
    assert not mailbox.taken


def test_a_password_is_never_sent_in_the_clear(send: Send, mailbox: Mailbox) -> None:
    refusal = refused(send, username="close", password="secret-words")
    assert "encrypted" in str(refusal)
    assert "secret-words" not in str(refusal)
    assert not mailbox.taken


def test_a_body_with_lone_dots_and_long_lines_arrives_whole(send: Send, mailbox: Mailbox) -> None:
    body = f".\n..\nFrom here\n{'x' * 2000}\n"
    send(body=body)
    text = mailbox.message().get_body()
    assert text is not None
    assert text.get_content().splitlines() == body.splitlines()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return public, private


@dataclass
class Doorkeeper:
    """Lets one account in, and remembers the passwords it saw."""

    seen: list[bytes] = field(default_factory=list[bytes])

    def __call__(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: object
    ) -> AuthResult:
        assert isinstance(login, LoginPassword)
        self.seen.append(login.password)
        return AuthResult(success=login == LoginPassword(b"close", b"secret-words"), handled=False)


@dataclass(frozen=True, kw_only=True)
class SecureServer:
    """A server that asks for encryption and a login."""

    port: int
    certificate: Path
    doorkeeper: Doorkeeper


@pytest.fixture
def secure(mailbox: Mailbox, tmp_path: Path) -> Iterator[SecureServer]:
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    doorkeeper = Doorkeeper()
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=doorkeeper,
    )
    controller.start()
    yield SecureServer(port=controller.port, certificate=certificate, doorkeeper=doorkeeper)
    controller.stop()


def test_it_logs_in_over_an_encrypted_connection(
    send: Send, secure: SecureServer, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.certificate))
    send(port=secure.port, starttls=True, username="close", password="secret-words")
    assert secure.doorkeeper.seen == [b"secret-words"]
    assert mailbox.message()["Message-ID"] == MESSAGE_ID


def test_a_wrong_password_is_a_refusal_that_does_not_repeat_it(
    send: Send, secure: SecureServer, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.certificate))
    refusal = refused(send, port=secure.port, starttls=True, username="close", password="other-words")
    assert "535" in str(refusal)
    assert "other-words" not in str(refusal)
    assert not mailbox.taken


def test_a_certificate_nobody_vouches_for_gets_neither_password_nor_mail(
    send: Send, secure: SecureServer, mailbox: Mailbox
) -> None:
    refusal = refused(send, port=secure.port, starttls=True, username="close", password="secret-words")
    assert "certificate" in str(refusal).lower()
    assert not refusal.may_have_been_sent
    assert not secure.doorkeeper.seen
    assert not mailbox.taken
