// MQTT.js at the end of two pipes: a command in JSON per line of stdin, an event in JSON per line of stdout.
'use strict'
const fs = require('fs')
const readline = require('readline')
const mqtt = require('mqtt')

const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n')
let client

const commands = {
  connect ({ url, root, certificate, key, version, clientId, clean, will }) {
    client = mqtt.connect(url, {
      ca: fs.readFileSync(root),
      cert: certificate && fs.readFileSync(certificate),
      key: key && fs.readFileSync(key),
      protocolVersion: version,
      clientId,
      clean,
      reconnectPeriod: 0,
      properties: version === 5 ? { sessionExpiryInterval: clean ? 0 : 3600 } : undefined,
      will: will && { topic: will[0], payload: will[1], qos: 1 }
    })
    client.on('connect', (connack) => tell({ event: 'connected', present: connack.sessionPresent }))
    client.on('message', (topic, payload, packet) =>
      tell({ event: 'message', topic, payload: payload.toString('base64'), retain: packet.retain }))
    client.on('error', (error) => tell({ event: 'error', text: String(error) }))
    client.on('close', () => tell({ event: 'closed' }))
  },
  subscribe ({ filter, qos }) {
    client.subscribe(filter, { qos }, (error, granted) =>
      tell({ event: 'subscribed', refused: Boolean(error) || granted.some((each) => each.qos >= 128) }))
  },
  publish ({ topic, payload, qos, retain }) {
    client.publish(topic, Buffer.from(payload, 'base64'), { qos, retain }, (error) =>
      tell({ event: 'published', refused: Boolean(error) }))
  },
  close () {
    client.end()
  }
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => { const { command, ...rest } = JSON.parse(line); commands[command](rest) })
