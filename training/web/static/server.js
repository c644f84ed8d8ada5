// The server's answers, or an error that the page can show.

import { Trouble } from "./texts.js";

// The JSON of an answer; fails with the server's error or with a Trouble, never with a browser's own message.
export async function fetched(address, options) {
  let response, text;
  try {
    response = await fetch(address, { ...options, redirect: "manual" });
    text = await response.text();
  } catch {
    throw new Trouble("unreachable");
  }
  const answer = parsed(text);
  if (response.ok && answer) return answer;
  if (answer?.error?.message_zh) throw answer.error;
  // Not from our server, which redirects nobody: from a proxy in front of it, or from something else at its address.
  const { status, type } = response;
  if (type === "opaqueredirect" || [401, 403, 407].includes(status)) throw new Trouble("proxyLogin");
  if (status === 413) throw new Trouble("proxyLimit");
  if ([502, 503, 504].includes(status)) throw new Trouble("proxyLost", { status });
  throw new Trouble("strange", { status });
}

// A websocket to a relative address, until the signal ends it: ask(blob) gives the next answer, or fails as fetched does.
export async function opened(address, signal) {
  const url = new URL(address, document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  let settle = {};
  let said = null; // by the server, such as why it closes
  const next = () => new Promise((resolve, reject) => (settle = { resolve, reject }));
  socket.onopen = () => settle.resolve();
  socket.onclose = () => settle.reject(said ?? new Trouble("lostLive"));
  socket.onmessage = ({ data }) => {
    const answer = parsed(data);
    said = answer?.points ? null : answer?.error?.message_zh ? answer.error : new Trouble("strange", { status: 101 });
    if (said) settle.reject(said);
    else settle.resolve(answer);
  };
  signal.addEventListener("abort", () => socket.close());
  await next();
  return {
    ask: (blob) => {
      socket.send(blob);
      return next();
    },
    isOpen: () => socket.readyState === WebSocket.OPEN,
  };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
