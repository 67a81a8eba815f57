"""An SMSC by somebody else (PyPI's smpp34, in Rust), run as a process: `python smpp34_smsc.py PORT [sink]`.

It tells what happens as JSON lines on stdout, and `ready` first. A submit_sm to a number that ends in 58 is throttled,
one that ends in 11 has a wrong destination; whoever asks for a receipt gets one, and a text that begins with "echo"
comes back as if its recipient had written it. As `sink` it says nothing and takes everything.
"""

import asyncio
import itertools
import json
import os
import sys

import smpp34

#: command_status by the last digits of the number.
REFUSED = {"58": smpp34.ESME_RTHROTTLED, "11": smpp34.ESME_RINVDSTADR}

#: Phones take their time. The library may send a receipt before the answer it is about, and Kannel drops such a one.
TRAVEL_S = 0.5


def tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


async def serve(port: int, *, is_sink: bool) -> None:
    server = smpp34.Server(host="127.0.0.1", port=port, system_id="smpp34", inbound_capacity=10_000)
    await server.start()
    tell(event="ready")
    sessions = {}
    pushes = set()
    for number in itertools.count(1):
        event = await server.next()
        if isinstance(event, smpp34.SubmitSmEvent):
            if is_sink:
                event.accept(str(number))
                continue
            status = REFUSED.get(event.destination_addr[-2:], 0)
            tell(
                event="submit_sm", source=event.source_addr, destination=event.destination_addr,
                ton=event.dest_addr_ton, source_ton=event.source_addr_ton, esm_class=event.esm_class,
                data_coding=event.data_coding, text=event.short_message.hex(), id=str(number),
                tlvs={tlv.tag: tlv.value.hex() for tlv in event.tlvs}, status=status,
            )  # fmt: skip
            if status:
                event.reject(status)
                continue
            event.accept(str(number))
            if event.registered_delivery:
                pushes.add(asyncio.create_task(receipt(sessions[event.session_id], event, str(number))))
        elif isinstance(event, smpp34.Esme):
            sessions[event.session_id] = event
            tell(event="bound", system_id=event.system_id, can_receive=event.can_receive)
        else:
            tell(event="unbound")


async def receipt(esme: smpp34.Esme, event: smpp34.SubmitSmEvent, number: str) -> None:
    """Deliver a receipt by TLVs, and the text itself as if it had been written to us."""
    await asyncio.sleep(TRAVEL_S)
    answer = await esme.deliver_sm(
        source_addr=event.destination_addr, source_addr_ton=1, destination_addr=event.source_addr, esm_class=0x04,
        short_message=b"", tlvs=[
            smpp34.Tlv(smpp34.TLV_RECEIPTED_MESSAGE_ID, number.encode() + b"\0"),
            smpp34.Tlv(smpp34.TLV_MESSAGE_STATE, b"\x02"),
        ],
    )  # fmt: skip
    tell(event="receipt", status=answer.command_status)
    # In UCS-2 or not.
    if event.short_message.replace(b"\0", b"").startswith(b"echo"):
        answer = await esme.deliver_sm(
            source_addr=event.destination_addr, source_addr_ton=1, destination_addr=event.source_addr,
            short_message=event.short_message, data_coding=event.data_coding, esm_class=event.esm_class,
        )  # fmt: skip
        tell(event="echo", status=answer.command_status)


if __name__ == "__main__":
    try:
        asyncio.run(serve(int(sys.argv[1]), is_sink=sys.argv[2:] == ["sink"]))
    finally:
        # Its threads may abort the interpreter's own end.
        os._exit(0)
