"""An SMSC by somebody else (PyPI's smpp34) as a process of its own, behind Kannel: `python smsc_process.py PORT`.

Each submit_sm that it takes is one JSON line on stdout; `{"event": "bound"}` once somebody is there to send.
"""

import asyncio
import json
import os
import sys

import smpp34


async def serve(port: int) -> None:
    server = smpp34.Server(host="127.0.0.1", port=port, system_id="smsc")
    await server.start()
    tell(event="ready")
    taken = 0
    while True:
        event = await server.next()
        if isinstance(event, smpp34.Esme):
            tell(event="bound")
        elif isinstance(event, smpp34.SubmitSmEvent):
            taken += 1
            event.accept(str(taken))
            tell(
                event="submit_sm", source=event.source_addr, destination=event.destination_addr,
                esm_class=event.esm_class, data_coding=event.data_coding, octets=event.short_message.hex(),
            )  # fmt: skip


def tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(serve(int(sys.argv[1])))
    except KeyboardInterrupt:
        pass
    os._exit(0)  # its Rust side may abort in the interpreter's own end
