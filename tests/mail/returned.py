"""Bounces as mail servers write them."""

from tests.mail.composed import ID

__all__ = ["exim", "notification", "qmail"]

REPORT = """\
Return-Path: <>
Date: Sun,  1 Mar 2026 12:31:00 +0000 (UTC)
From: MAILER-DAEMON@mx.example.com (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="4QkT0m0W4Nz1/mx.example.com"

This is a MIME-encapsulated message.

--4QkT0m0W4Nz1/mx.example.com
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.com.

--4QkT0m0W4Nz1/mx.example.com
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com
X-Postfix-Queue-ID: 4QkT0m0W4Nz1
Arrival-Date: Sun,  1 Mar 2026 12:30:05 +0000 (UTC)
{recipients}
--4QkT0m0W4Nz1/mx.example.com
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: Ventas <ventas@example.com>
To: juan@example.org
Subject: Novedades
Message-ID: <{id}@example.com>

--4QkT0m0W4Nz1/mx.example.com--
"""

QMAIL = """\
From: MAILER-DAEMON@mx.example.com
To: {to}
Subject: failure notice

Hi. This is the qmail-send program at mx.example.com.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<juan@example.org>:
192.0.2.1 does not like recipient.
Remote host said: 550 User unknown
Giving up on 192.0.2.1.

--- Below this line is a copy of the message.

Return-Path: <bounces@example.com>
Message-ID: <{id}@example.com>
"""


EXIM = """\
Return-path: <>
X-Failed-Recipients: juan@example.org
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@mx.example.com>
To: {to}
Subject: Mail delivery failed: returning message to sender

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  juan@example.org
    {reason}

------ This is a copy of the message, including all the headers. ------

Return-path: <{to}>
Subject: No spam; a full mailbox is temporary: quota

552 5.2.2 quota
"""


def notification(*recipients: tuple[str, str, str], id_: str = ID, to: str = "ventas@example.com") -> bytes:
    """Return a delivery status notification (RFC 3464), by Postfix: of each recipient action, status and diagnostic."""
    groups = [
        f"\nFinal-Recipient: rfc822; juan@example.org\nAction: {action}\nStatus: {status}\n"
        + (f"Diagnostic-Code: {diagnostic}\n" if diagnostic else "")
        for action, status, diagnostic in recipients
    ]
    return REPORT.format(to=to, id=id_, recipients="".join(groups)).encode()


def qmail(id_: str = ID, to: str = "ventas@example.com") -> bytes:
    """Return a bounce as qmail writes it, which follows no standard but its own."""
    return QMAIL.format(to=to, id=id_).encode()


def exim(reason: str, to: str) -> bytes:
    """Return a bounce as Exim writes it without notifications."""
    return EXIM.format(to=to, reason=reason).encode()
