// An SMSC by somebody else (npm's smpp), run as a process: `NODE_PATH=… node smsc.js [KEY CERTIFICATE]`.
//
// It tells what happens as JSON lines on stdout, its port first. The account is dialerd/secret. A submit_sm to a number
// that ends in 58 is throttled, one that ends in 11 has a wrong destination. Whoever asks for a receipt gets one by its
// text, with the id in decimal where the answer had it in hexadecimal; a text that begins with "echo" comes back.
'use strict';
const fs = require('fs');
const smpp = require('smpp');

const refused = {58: smpp.ESME_RTHROTTLED, 11: smpp.ESME_RINVDSTADR};
const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n');
let number = 0x0a0b0c00;

function serve(session) {
  const bind = (pdu) => {
    const ok = pdu.system_id === 'dialerd' && pdu.password === 'secret';
    session.send(pdu.response({command_status: ok ? smpp.ESME_ROK : smpp.ESME_RINVPASWD, system_id: 'npm'}));
    tell({event: 'bind', command: pdu.command, ok, version: pdu.interface_version});
    if (ok) session.enquire_link((answer) => tell({event: 'enquire_link_resp', status: answer.command_status}));
  };
  ['bind_transceiver', 'bind_transmitter', 'bind_receiver'].forEach((name) => session.on(name, bind));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    tell({event: 'unbind'});
    session.send(pdu.response());
    session.close();
  });
  session.on('submit_sm', (pdu) => {
    const status = refused[pdu.destination_addr.slice(-2)] || smpp.ESME_ROK;
    const id = ++number;
    const body = pdu.message_payload || pdu.short_message;
    tell({
      event: 'submit_sm', status, source: pdu.source_addr, destination: pdu.destination_addr, ton: pdu.dest_addr_ton,
      source_ton: pdu.source_addr_ton, esm_class: pdu.esm_class, data_coding: pdu.data_coding, text: body.message,
      header: body.udh && Buffer.concat(body.udh).toString('hex'), id: id.toString(16),
      sar: [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum],
      validity: pdu.validity_period,
    });
    session.send(pdu.response({command_status: status, message_id: status ? '' : id.toString(16)}));
    if (status || !pdu.registered_delivery) return;
    session.deliver_sm({
      source_addr: pdu.destination_addr, source_addr_ton: 1, destination_addr: pdu.source_addr, esm_class: 4,
      short_message: `id:${id} sub:001 dlvrd:001 submit date:2611251030 done date:2611251031 stat:DELIVRD err:000 text:`,
    }, (answer) => tell({event: 'receipt', status: answer.command_status}));
    if (String(body.message).startsWith('echo')) {
      session.deliver_sm({
        source_addr: pdu.destination_addr, source_addr_ton: 1, destination_addr: pdu.source_addr,
        data_coding: pdu.data_coding, short_message: body.message,
      }, (answer) => tell({event: 'echo', status: answer.command_status}));
    }
  });
  session.on('close', () => tell({event: 'closed'}));
  session.on('error', (error) => tell({event: 'error', error: String(error)}));
}

const [key, cert] = process.argv.slice(2).map((path) => fs.readFileSync(path));
const server = smpp.createServer(key ? {key, cert} : {}, serve);
server.listen(0, '127.0.0.1', () => tell({event: 'ready', port: server.address().port}));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
