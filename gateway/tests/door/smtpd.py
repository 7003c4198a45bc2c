"""A mail server for one test (aiosmtpd): smtpd.py PORT FOLDER [CERTIFICATE KEY]

Writes each message into FOLDER as N.eml, its envelope first, and prints `ready` and its port. With a certificate it offers STARTTLS and takes
nothing without it and without the login portcullis / hunter2. A recipient whose name begins with `gone` is refused for good (550),
one with `later` for now (451).
"""

import ssl
import sys
import threading
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

port, folder = int(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(exist_ok=True)


class Handler:
    count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone"):
            return "550 no such mailbox"
        if address.startswith("later"):
            return "451 try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        Handler.count += 1
        head = f"From {envelope.mail_from} to {','.join(envelope.rcpt_tos)} tls={session.ssl is not None}\n"
        draft = folder / f"{Handler.count}.new"
        draft.write_bytes(head.encode() + envelope.content)
        draft.rename(folder / f"{Handler.count}.eml")
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    return AuthResult(success=data.login == b"portcullis" and data.password == b"hunter2", handled=False)


options = {}
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    options = {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": login}


class Server(Controller):
    def factory(self):
        return SMTP(self.handler, hostname="localhost", **options)


# It gives itself five seconds otherwise, which a busy machine may take to start a thread.
server = Server(Handler(), hostname="127.0.0.1", port=port, ready_timeout=60)
server.start()
print('{"ready":true,"port":%d}' % port, flush=True)
threading.Event().wait()
