"""The tables that the outside may rely on, and the few of our own beside them.

Everything that other systems need not give has a default in the database. `address`, `zone` and `parts` are what
dialerd computes at intake; rows that others insert come without (`address` null) and get them when first touched.
`zone` is ZONE_NOT_ASKED until a campaign with recipient_hours asks, then the zones the recipient may be in.

Receipts and inbound SMS find messages by what providers say of them: an id in some spelling (NAMED) and an address in
some spelling (TAIL). Both are expressions that an index holds, spelt alike here and in the statements.
"""

from dialerd.store.tables.answers import blacklist, bounce, inbound_part, parked_receipt, sms_inbound, sms_part
from dialerd.store.tables.api import api_call, api_failed_login, api_token, api_user
from dialerd.store.tables.base import NAMED, TAIL, metadata
from dialerd.store.tables.messages import node, pace, pause, promotion, sms_repo, sms_scheduler, sms_spool
from dialerd.store.tables.uploads import upload, upload_error, upload_line

__all__ = [
    "NAMED",
    "TAIL",
    "api_call",
    "api_failed_login",
    "api_token",
    "api_user",
    "blacklist",
    "bounce",
    "inbound_part",
    "metadata",
    "node",
    "pace",
    "parked_receipt",
    "pause",
    "promotion",
    "sms_inbound",
    "sms_part",
    "sms_repo",
    "sms_scheduler",
    "sms_spool",
    "upload",
    "upload_error",
    "upload_line",
]
