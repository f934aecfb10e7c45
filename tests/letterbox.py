"""Servers that take what people are told: of mail and of webhooks, on loopback, and real enough to refuse things."""

from __future__ import annotations

import base64
import email
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any


@dataclass
class Mail:
    """A mail server: STARTTLS, and a login over it, where it has a certificate."""

    port: int
    ca_file: Path | None
    taken: list[Message] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)


@contextmanager
def mail_server(folder: Path, *, tls: bool) -> Iterator[Mail]:
    """A mail server for as long as it is needed."""
    context, ca_file = None, None
    if tls:
        ca_file = certificate(folder)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(ca_file)

    class Session(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            secured = False
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                verb, _, rest = line.partition(" ")
                match verb.upper():
                    case "EHLO":
                        more = "AUTH PLAIN" if secured else "STARTTLS" if context else "8BITMIME"
                        self.say(f"250-here\r\n250 {more}")
                    case "STARTTLS":
                        self.say("220 go on")
                        assert context is not None
                        self.request = context.wrap_socket(self.request, server_side=True)
                        self.setup()
                        secured = True
                    case "AUTH":
                        told = base64.b64decode(rest.split()[1]).decode().split("\0")[1:]
                        mail.logins.append(":".join(told))
                        self.say("235 you" if told[1] == "secret" else "535 not you")
                    case "DATA":
                        self.say("354 go on")
                        text = b""
                        while (part := self.rfile.readline()) != b".\r\n":
                            text += part
                        mail.taken.append(email.message_from_bytes(text, policy=default))
                        mail.secured.append(secured)
                        self.say("250 taken")
                    case "QUIT":
                        self.say("221 bye")
                        return
                    case "RCPT" if "nobody@" in rest:
                        self.say("550 there is no such person")
                    case _:
                        self.say("250 fine")

    with _served(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)) as port:
        mail = Mail(port, ca_file)
        yield mail


@dataclass
class Hook:
    """A server of webhooks: what it took, and what it answers."""

    url: str
    status: int = 200
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def hook_server() -> Iterator[Hook]:
    """A server of webhooks for as long as it is needed."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.taken.append((dict(self.headers), body))
            self.send_response(hook.status)
            if hook.status == 302:
                self.send_header("Location", f"{hook.url}/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with _served(ThreadingHTTPServer(("127.0.0.1", 0), Answers)) as port:
        hook = Hook(f"http://127.0.0.1:{port}")
        yield hook


@contextmanager
def _served(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate of 127.0.0.1 that it signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    path = folder / "certificate.pem"
    path.write_bytes(key.private_bytes(pem, form, plain) + made.public_bytes(pem))
    return path
