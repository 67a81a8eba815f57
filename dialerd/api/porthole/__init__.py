"""The agent desktop's call: a page that hosts a form of somebody else's, and sends what that asks to send."""

from dialerd.api.porthole.pages import ROUTES

__all__ = ["ROUTES"]
