"""dialerd: scheduled and bulk SMS and e-mail, each at its time, in its order, at its pace, once."""

__version__ = "0.1.0"
