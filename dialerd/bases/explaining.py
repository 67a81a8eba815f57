"""Says in words what a rejected line's one-word reason leaves open."""

from dialerd.bases.files import MOST_KEPT
from dialerd.bases.lines import read_line
from dialerd.examine import examine, providers_of
from dialerd.model.errors import BadAddress, BadText, Refused
from dialerd.model.message import Channel
from dialerd.settings import Settings
from dialerd.store.uploads import BadLine

__all__ = ["explained"]

#: What can be explained, and the channel of whose lines it is said.
CHANNELS = {"bad number": Channel.SMS, "bad address": Channel.EMAIL, "bad variables": Channel.EMAIL}
MALFORMED = 'the line\'s variables are no JSON members: "name": "Ana", "day": "12/03"'


def explained(settings: Settings, bad: BadLine, *, campaign: str | None = None) -> str | None:
    """Return what is wrong with a rejected line's address or variables, None where its reason says all there is.

    `campaign` is that of the lines which name none.
    """
    channel = CHANNELS.get(bad.reason)
    if channel is None:
        return None
    # Of a longer line only its beginning was kept, which says nothing of its end.
    is_whole = len(bad.text) < MOST_KEPT
    fields = read_line(bad.text, channel)
    known = settings.campaigns.get(fields.campaign or campaign or "")
    if known is None or known.channel is not channel:
        return None
    if fields.fault == bad.reason == "bad variables":
        return MALFORMED if is_whole else None
    try:
        examine(known, fields.destination, fields.data, fields.details, providers_of(known, settings.providers))
    except BadAddress as error:
        return str(error)
    except BadText as error:
        return str(error) if error.reason == bad.reason and is_whole else None
    except Refused:
        pass
    return None
