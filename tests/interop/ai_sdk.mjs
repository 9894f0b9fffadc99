// Read a run as a page does that uses the AI SDK, and print the message that it has at the end.
import { DefaultChatTransport, readUIMessageStream } from "ai";

const [api, chatId] = process.argv.slice(2);
const transport = new DefaultChatTransport({ api });
const stream = await transport.reconnectToStream({ chatId });
const errors = [];
let message = null;
if (stream !== null) {
  console.error("reading");
  const onError = (error) => errors.push(error.message);
  for await (message of readUIMessageStream({ stream, onError }));
}
console.log(JSON.stringify({ active: stream !== null, message, errors }));
