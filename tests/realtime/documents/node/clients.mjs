/**
 * Stock y-websocket clients, as many as wanted, driven by JSON lines: each line on standard input
 * is a command, each line on standard output its answer, in the same order.
 */

import { createInterface } from "node:readline";
import WebSocket from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

const clients = new Map();

function open({ name, server, room, protocols = [], params = {} }) {
  const doc = new Y.Doc();
  const refusals = [];
  const closes = [];
  const provider = new WebsocketProvider(server, room, doc, {
    WebSocketPolyfill: WebSocket,
    disableBc: true,
    protocols,
    params,
  });
  provider.on("connection-close", (event) => event && closes.push(event.code));
  clients.set(name, { doc, text: doc.getText("content"), provider, refusals, closes });
}

// What y-websocket itself does with a refusal: it warns on the console.
console.warn = (line) => {
  for (const client of clients.values()) {
    if (line.includes(client.provider.url)) client.refusals.push(line.split("\n")[1]);
  }
};

const commands = {
  open,
  openMany({ prefix, count, ...options }) {
    for (let number = 0; number < count; number++) open({ name: `${prefix}${number}`, ...options });
  },
  insert: ({ text }, { text: shared }, index) => shared.insert(index, text),
  append: ({ text }, { text: shared }) => shared.insert(shared.length, text),
  embed: ({ value }, { text: shared }, index) => shared.insertEmbed(index, value),
  remove: ({ index, length }, { text: shared }) => shared.delete(index, length),
  text: (_, { text }) => text.toString(),
  size: (_, { text }) => text.length,
  allTexts: () => [...new Set([...clients.values()].map(({ text }) => text.toString()))],
  allSynced: () => [...clients.values()].every(({ provider }) => provider.synced),
  synced: (_, { provider }) => provider.synced,
  present: ({ state }, { provider }) => provider.awareness.setLocalState(state),
  others: (_, { doc, provider }) =>
    [...provider.awareness.getStates()].filter(([id]) => id !== doc.clientID).map(([, state]) => state),
  refusals: (_, { refusals }) => refusals,
  closes: (_, { closes }) => closes,
  wants: (_, { provider }) => provider.shouldConnect,
  disconnect: (_, { provider }) => provider.disconnect(),
  connect: (_, { provider }) => provider.connect(),
  /** Cut the line as a broken network does: nothing is said to the server. */
  cut: (_, { provider }) => provider.ws?.terminate(),
  close({ name }, { provider, doc }) {
    provider.destroy();
    doc.destroy();
    clients.delete(name);
  },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const { command, ...options } = JSON.parse(line);
  let answer;
  try {
    const value = commands[command](options, clients.get(options.name), options.index ?? 0);
    answer = { value: value ?? null };
  } catch (error) {
    answer = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
process.stdin.on("end", () => process.exit(0));
