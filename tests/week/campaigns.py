"""The providers and campaigns of the week, as their files have them."""

__all__ = ["CAMPAIGNS", "PROVIDERS"]

PROVIDERS = {
    "smsc": {"max_in_flight": 20},
    "night": {"max_in_flight": 10},
    "lane": {"max_in_flight": 10, "per_second": 0.2},
    "mail": {"max_in_flight": 5},
}

CAMPAIGNS = {
    "office": """
        provider = "smsc"
        timezone = "Europe/Berlin"
        schedule = ["mon-fri;09:00-18:00", "sat;10:00-14:00"]
        """,
    "late": """
        provider = "smsc"
        timezone = "Europe/Berlin"
        schedule = ["sat-sun;22:00-02:30", "wed;23:15-23:59"]
        """,
    "beirut": """
        provider = "night"
        timezone = "Asia/Beirut"
        schedule = ["mon-sun;00:00-05:00", "tue;20:00-22:00"]
        """,
    "sydney": """
        provider = "smsc"
        timezone = "Australia/Sydney"
        schedule = ["mon-fri;08:00-12:00", "mon-fri;13:00-17:00", "sun;02:15-02:45"]
        """,
    "lordhowe": """
        provider = "smsc"
        timezone = "Australia/Lord_Howe"
        schedule = ["sat-sun;01:20-01:50", "tue,thu;06:00-07:00"]
        """,
    "santiago": """
        provider = "smsc"
        timezone = "America/Santiago"
        schedule = ["fri-sat;23:10-00:30", "mon-thu;12:00-20:00"]
        between_ms = 20000
        """,
    "ventas": """
        provider = "smsc"
        timezone = "America/Montevideo"
        schedule = ["mon-fri;09:00-18:00"]
        per_second = 0.5
        """,
    "easter": """
        provider = "night"
        timezone = "Europe/Madrid"
        schedule = ["mon-sun;10:00-20:00"]
        dates = { start = 2026-03-30, end = 2026-04-04, except = [2026-04-02, 2026-04-03] }
        """,
    "ended": """
        provider = "smsc"
        timezone = "Pacific/Auckland"
        dates = { end = 2026-03-31 }
        """,
    "disabled": """
        provider = "smsc"
        enabled = false
        """,
    "reloaded": """
        provider = "smsc"
        timezone = "Asia/Kolkata"
        schedule = ["mon-sun;09:30-21:30"]
        """,
    "paused": """
        provider = "lane"
        timezone = "America/New_York"
        schedule = ["mon-sun;08:00-21:00"]
        """,
    "awake": """
        provider = "night"
        timezone = "Europe/Berlin"
        recipient_hours = ["mon-fri;08:00-21:00", "sat-sun;10:00-20:00"]
        """,
    "kolkata": """
        provider = "smsc"
        timezone = "Asia/Kolkata"
        schedule = ["mon-sun;10:00-12:00"]
        expires_s = 21600
        """,
    "between": """
        provider = "lane"
        between_ms = 15000
        """,
    "retrying": """
        provider = "smsc"
        timezone = "UTC"
        schedule = ["mon-sun;06:00-22:00"]
        retry = { attempts = 3, first_s = 600, factor = 4, max_s = 1800 }
        """,
    "held": """
        provider = "lane"
        bases = "held"
        expires_s = 86400
        """,
    "bulk-a": """
        provider = "lane"
        """,
    "bulk-b": """
        provider = "lane"
        timezone = "Asia/Tokyo"
        schedule = ["mon-sun;07:00-23:00"]
        """,
    "doubtful": """
        provider = "night"
        """,
    "mails": """
        channel = "email"
        provider = "mail"
        timezone = "Europe/Berlin"
        schedule = ["mon-sun;07:00-22:00"]
        max_in_flight = 2
        retry = { attempts = 4, first_s = 300 }
        [email]
        from = "Ventas <ventas@example.com>"
        subject = "Novedades"
        """,
}
