"""Says in words what a rejected line's one-word reason leaves open."""

from dialerd.bases.lines import read_line
from dialerd.examine import examine, providers_of
from dialerd.model.errors import BadAddress, Refused
from dialerd.model.message import Channel
from dialerd.settings import Settings
from dialerd.store.uploads import BadLine

__all__ = ["explained"]

CHANNELS = {"bad number": Channel.SMS, "bad address": Channel.EMAIL}


def explained(settings: Settings, bad: BadLine, *, campaign: str | None = None) -> str | None:
    """Return what is wrong with a rejected line's number or address, None where its reason says all there is.

    `campaign` is that of the lines which name none.
    """
    channel = CHANNELS.get(bad.reason)
    if channel is None:
        return None
    fields = read_line(bad.text, channel)
    known = settings.campaigns.get(fields.campaign or campaign or "")
    if known is None or known.channel is not channel:
        return None
    try:
        examine(known, fields.destination, fields.data, fields.details, providers_of(known, settings.providers))
    except BadAddress as error:
        return str(error)
    except Refused:  # of the text, which may be only its beginning here
        pass
    return None
