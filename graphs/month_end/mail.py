"""Send a close pack by mail, such that a retry can be recognised and a failure says whether to retry.

The caller passes the Message-ID: sending the same pack again under the same id lets mail servers and the
recipient see that it is one message.
"""

import re
import smtplib
import ssl
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from pathlib import Path

from month_end.pack import PackFiles

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_MESSAGE_ID = re.compile(r"<[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+>")
_LONGEST_ADDRESS = 254
_LONGEST_SUBJECT = 500
_ACCEPTED = (250, 251)
_XLSX = "vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class MailError(Exception):
    """The mail was not sent, or nobody can tell.

    Attributes:
        may_have_been_sent: False if the server certainly did not take the mail, so that sending again is
            safe; True if the connection broke after the content was handed over.
    """

    def __init__(self, message: str, may_have_been_sent: bool = False) -> None:
        super().__init__(message, may_have_been_sent)
        self.may_have_been_sent = may_have_been_sent

    def __str__(self) -> str:
        return str(self.args[0])


def send_pack(
    files: PackFiles,
    *,
    to: Sequence[str],
    subject: str,
    body: str,
    host: str,
    port: int,
    message_id: str,
    sender: str,
    starttls: bool = False,
    username: str = "",
    password: str = "",
    timeout: float = 30.0,
) -> str:
    """Send the files of a pack to all recipients, or to none.

    Args:
        files: The pack; both files are attached.
        to: The recipients' plain addresses, at least one.
        subject: One line of text.
        body: The text of the mail.
        host: The SMTP server's name.
        port: Its port.
        message_id: The Message-ID with its angle brackets, the same for every attempt to send this pack.
        sender: The sender's plain address.
        starttls: Whether to encrypt, and refuse a server that cannot or whose certificate is not trusted.
        username: The account to log in with; empty for none. Logging in needs starttls.
        password: Its password.
        timeout: Seconds to wait for each answer of the server.

    Returns:
        What the server answered when it took the mail, usually with its own id for it.

    Raises:
        MailError: If a header is not acceptable, a file is missing, or the server does not take the mail.
    """
    if username and not starttls:
        raise MailError("A password is only sent over an encrypted connection: set starttls=True.")
    message = _message(files, to=to, subject=subject, body=body, message_id=message_id, sender=sender)
    with _session(host, port, timeout) as server:
        _secure(server, starttls, username, password)
        _address(server, sender, to)
        return _deliver(server, message)


def _message(
    files: PackFiles, *, to: Sequence[str], subject: str, body: str, message_id: str, sender: str
) -> EmailMessage:
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["Message-ID"] = _shaped("message_id", message_id, _MESSAGE_ID, "an id such as <pack-1@example.com>")
    message["Date"] = formatdate()
    message["From"] = _shaped("sender", sender, _ADDRESS, "an address such as close@example.com")
    message["To"] = ", ".join(_recipients(to))
    message["Subject"] = _one_line(subject)
    message.set_content(body)
    message.add_attachment(
        _content(files.workbook), maintype="application", subtype=_XLSX, filename=files.workbook.name
    )
    message.add_attachment(
        _content(files.markdown),
        maintype="text",
        subtype="markdown",
        filename=files.markdown.name,
        params={"charset": "utf-8"},
    )
    return message


def _recipients(to: Sequence[str]) -> list[str]:
    if isinstance(to, str) or not to:
        raise MailError("The recipients (to) must be a list of at least one address.")
    return [_shaped("to", address, _ADDRESS, "an address such as controller@example.com") for address in to]


def _shaped(name: str, value: str, shape: re.Pattern[str], expected: str) -> str:
    if len(value) > _LONGEST_ADDRESS or not shape.fullmatch(value):
        raise MailError(f"The {name} {value[:80]!r} is refused: expected {expected}.")
    return value


def _one_line(subject: str) -> str:
    if not subject.isprintable() or len(subject) > _LONGEST_SUBJECT:
        raise MailError(f"The subject is refused: expected one line of at most {_LONGEST_SUBJECT} characters.")
    return subject


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MailError(f"The attachment {path} cannot be read: {error.strerror}.") from error


@contextmanager
def _session(host: str, port: int, timeout: float) -> Generator[smtplib.SMTP, None, None]:
    """Open a connection; whatever fails in it before the content is handed over means nothing was sent."""
    try:
        server = smtplib.SMTP(host, port, timeout=timeout)
        try:
            yield server
        finally:
            _quit(server)
    except (smtplib.SMTPException, OSError, UnicodeError, OverflowError) as error:
        raise MailError(f"The mail server {host}:{port} did not take the mail: {_said(error)}.") from error


def _secure(server: smtplib.SMTP, starttls: bool, username: str, password: str) -> None:
    if starttls:
        server.starttls(context=ssl.create_default_context())
    if username:
        server.login(username, password)


def _address(server: smtplib.SMTP, sender: str, to: Sequence[str]) -> None:
    """Name all recipients before anything is sent; smtplib itself would send to those accepted."""
    server.ehlo_or_helo_if_needed()
    _expect(server.mail(sender), f"the sender {sender}")
    for address in to:
        _expect(server.rcpt(address), f"the recipient {address}")


def _deliver(server: smtplib.SMTP, message: EmailMessage) -> str:
    try:
        reply = server.data(message.as_bytes())
    except smtplib.SMTPDataError:
        raise
    except (smtplib.SMTPException, OSError) as error:
        text = f"The connection broke while the mail was handed over, so it may have been sent: {_said(error)}."
        raise MailError(text, may_have_been_sent=True) from error
    _expect(reply, "the content")
    return _text(reply[1])


def _expect(reply: tuple[int, bytes], what: str) -> None:
    code, text = reply
    if code not in _ACCEPTED:
        raise MailError(f"The mail server refused {what}: {code} {_text(text)}.")


def _quit(server: smtplib.SMTP) -> None:
    """Say goodbye politely; by now the outcome is known, so a failure here says nothing about the mail."""
    with suppress(smtplib.SMTPException, OSError):
        server.quit()
    server.close()


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        reply = error.smtp_error
        return f"{error.smtp_code} {_text(reply) if isinstance(reply, bytes) else reply}"
    return str(error) or type(error).__name__


def _text(reply: bytes) -> str:
    return " ".join(reply.decode("utf-8", "replace").split()).rstrip(".")
