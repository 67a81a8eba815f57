"""An SMSC by somebody else (PyPI's smpp34) as a process of its own, behind Kannel: `python smsc_process.py PORT`.

Each submit_sm that it takes is one JSON line on stdout; `{"event": "bound"}` once somebody is there to send. Where a
receipt is asked for, there is one; with a TEXT behind PORT, every phone then answers with that.
"""

import asyncio
import json
import os
import sys

import smpp34


async def serve(port: int, reply: str | None = None) -> None:
    server = smpp34.Server(host="127.0.0.1", port=port, system_id="smsc")
    await server.start()
    tell(event="ready")
    taken = 0
    esme: smpp34.Esme | None = None
    while True:
        event = await server.next()
        if isinstance(event, smpp34.Esme):
            esme = event
            tell(event="bound")
        elif isinstance(event, smpp34.SubmitSmEvent):
            taken += 1
            event.accept(str(taken))
            tell(
                event="submit_sm", source=event.source_addr, destination=event.destination_addr,
                esm_class=event.esm_class, data_coding=event.data_coding, octets=event.short_message.hex(),
            )  # fmt: skip
            if event.registered_delivery & 3 and esme is not None:
                told = f"id:{taken} sub:001 dlvrd:001 submit date:2611250712 done date:2611250712 stat:DELIVRD err:000"
                await deliver(esme, event, told.encode(), esm_class=4)
                if reply is not None:
                    await deliver(esme, event, reply.encode("utf-16-be"), data_coding=8)


async def deliver(esme: smpp34.Esme, of: smpp34.SubmitSmEvent, content: bytes, **given: int) -> None:
    """Deliver what comes back from the phone to which a submit_sm went."""
    await esme.deliver_sm(
        of.source_addr,
        content,
        source_addr=of.destination_addr,
        source_addr_ton=1,
        source_addr_npi=1,
        dest_addr_ton=of.source_addr_ton,
        dest_addr_npi=of.source_addr_npi,
        **given,
    )


def tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(serve(int(sys.argv[1]), *sys.argv[2:]))
    except KeyboardInterrupt:
        pass
    os._exit(0)  # its Rust side may abort in the interpreter's own end
