"""A message as it travels: plain text, one recipient, and an id by which it is known again."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr

from gpucloud_core.notices.mail import Message


def mime_of(message: Message, sender: str) -> EmailMessage:
    """Return the mail. ``sender`` is an address, or one with a name: ``gpus <no@gpus.example>``.

    The same message always has the same Message-ID, so that whoever gets it twice can tell.
    """
    mail = EmailMessage(policy=SMTP)
    domain = parseaddr(sender)[1].rpartition("@")[2]
    mail["From"] = sender
    mail["To"] = message.to
    mail["Subject"] = " ".join(message.subject.split())
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer to it from a machine
    mail.set_content(message.text)
    return mail
