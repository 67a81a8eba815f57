"""SMPP 3.4: an SMSC is spoken to over a TCP connection that stays, and speaks to us over it as well."""

from dialerd.drivers.smpp.driver import Smpp

__all__ = ["Smpp"]
