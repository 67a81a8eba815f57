"""Floor 1: mails, from a message and its campaign to the bytes on the wire, and what comes back of them."""
