// Acupoints over the camera's moving picture: the newest frame goes to the server when the last answer is back.

import { drawSvg } from "./drawing.js";
import { frameOf } from "./camera.js";

const SIDE = 640; // of a frame, in pixels, at most
const QUALITY = 0.85;
const PAUSE = 250; // milliseconds after a frame without an answer
const STILL = 0.35; // share of the way to a new place that a point goes if it hardly moves
const FAR = 0.03; // of the frame's width: a point that moves as far goes all the way
const RATED = 10; // answers over which the rate is taken

// Runs until the signal ends it. connect() opens a connection of server.js; marks(answer) gives the points to draw;
// say(rate, error, answer) is called with pictures a second and the newest answer, or with what is wrong with its frame.
export async function showLive(video, svg, { connect, marks, say, signal }) {
  const times = [];
  let before = null;
  let connection = null;
  const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE));
  while (!signal.aborted) {
    if (!video.videoWidth) {
      await pause(); // the camera starts
      continue;
    }
    try {
      const frame = await frameOf(video, SIDE, QUALITY);
      if (signal.aborted) return;
      if (!connection?.isOpen()) connection = await connect();
      const answer = await connection.ask(frame);
      if (signal.aborted) return;
      steady(answer, before);
      before = answer;
      draw(svg, answer, marks(answer));
      times.push(performance.now());
      if (times.length > RATED) times.shift();
      say((1000 * (times.length - 1)) / (times.at(-1) - times[0]), null, answer);
    } catch (error) {
      if (signal.aborted) return;
      before = null;
      times.length = 0;
      svg.replaceChildren();
      say(0, error);
      await pause();
    }
  }
}

// Moves an answer's points part of the way back to where they were, the more so the less they moved.
function steady(answer, before) {
  if (before?.kind !== answer.kind) return;
  answer.points.forEach((point, index) => {
    const [x, y] = before.points[index];
    const moved = Math.hypot(point[0] - x, point[1] - y) / answer.width;
    const share = Math.min(1, STILL + ((1 - STILL) * moved) / FAR);
    point[0] = x + share * (point[0] - x);
    point[1] = y + share * (point[1] - y);
  });
}

function draw(svg, { width, height }, points) {
  const box = svg.getBoundingClientRect();
  const unit = Math.max(width / (box.width || width), height / (box.height || height));
  drawSvg(svg, points, width, height, unit, false);
  svg.removeAttribute("preserveAspectRatio"); // then it keeps its shape, in the middle, as the video does
}
