// The page: a picture goes to the server, its points come back, and are shown over it and in a list.
// Addresses are relative, so that the page also works below a path of a proxy.

import { openCamera } from "./camera.js";
import { drawCanvas, drawSvg } from "./drawing.js";
import { showLive } from "./live.js";
import { fetched, opened } from "./server.js";
import * as texts from "./texts.js";
import { LANGUAGES, Trouble, text } from "./texts.js";

const at = (id) => document.getElementById(id);
const state = {
  server: null, // the answer of GET /api/models
  kind: "auto",
  file: null,
  loaded: null, // promise: the browser has read the file, or cannot
  answer: null,
  threshold: 0.5,
  hidden: new Set(), // meridians that are switched off
  active: null, // index of the point that is pointed at
  zoom: 1,
  error: null, // the error of the server, {message, message_zh}, or a Trouble
  sending: null, // AbortController of the request in progress
};

// --- talking to the server ---

async function start() {
  texts.restoreLanguage();
  try {
    await meetServer();
  } catch (error) {
    state.error = error;
  }
  listen();
  show();
}

// Asks once what the server has; again with the next picture where that failed.
async function meetServer(signal) {
  if (state.server) return;
  const server = await fetched("api/models", { signal });
  if (!server.models) throw new Trouble("strange", { status: 200 });
  state.server = server;
  if (server.models.length === 1) state.kind = server.models[0].kind;
}

async function take(file) {
  if (!file) return;
  state.file = file;
  state.answer = null;
  const image = at("image");
  URL.revokeObjectURL(image.src);
  // Not image.decode(): that waits for a frame, which a page in the background does not get.
  state.loaded = new Promise((resolve) => (image.onload = image.onerror = resolve));
  image.src = URL.createObjectURL(file);
  await send();
}

async function send() {
  if (!state.file) return;
  state.sending?.abort();
  const sending = (state.sending = new AbortController());
  state.error = null;
  show();
  try {
    const [answer] = await Promise.all([ask(sending.signal), state.loaded]);
    if (state.sending !== sending) return;
    state.answer = answer;
    Object.assign(state, { threshold: answer.threshold, active: null, zoom: 1, hidden: new Set() });
    if (!at("image").naturalWidth) state.error = new Trouble("noPreview");
  } catch (error) {
    if (state.sending !== sending) return;
    Object.assign(state, { answer: null, error });
  }
  state.sending = null;
  show();
}

async function ask(signal) {
  await meetServer(signal);
  const { size } = state.file;
  const most = state.server.max_bytes;
  if (size > most) throw new Trouble("tooLarge", { mib: Math.floor(most / 2 ** 20) });
  try {
    await state.file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Trouble("unreadable"); // a folder, or a file that was moved or changed since
  }
  const form = new FormData();
  form.append("kind", state.kind);
  form.append("file", state.file, state.file.name || "picture");
  const answer = await fetched("api/recognise", { method: "POST", body: form, signal });
  if (!answer.points) throw new Trouble("strange", { status: 200 });
  return answer;
}

// --- showing ---

function show() {
  document.documentElement.lang = texts.language() === "zh" ? "zh-CN" : "en";
  document.title = text("title");
  const next = texts.language() === "zh" ? "en" : "zh";
  at("language").textContent = LANGUAGES[next];
  at("language").lang = next;
  for (const part of document.querySelectorAll("[data-text]")) part.textContent = text(part.dataset.text);
  for (const part of document.querySelectorAll("[data-label]")) part.setAttribute("aria-label", text(part.dataset.label));
  showKinds();
  showError();
  const { answer } = state;
  const busy = Boolean(state.sending);
  at("stage").setAttribute("aria-busy", busy);
  at("wait").hidden = !busy;
  at("empty").hidden = Boolean(answer) || busy;
  at("scroll").hidden = !answer && !busy;
  for (const id of ["result", "found", "zoom"]) at(id).hidden = !answer;
  if (answer) {
    at("facts").textContent = texts.facts(answer);
    at("hiddenLabel").hidden = !answer.fit?.ok;
    at("evidence").textContent = text(answer.model.evidence);
    at("threshold").hidden = answer.model.evidence === "none";
    showMeridians();
  }
  size();
  showPoints();
}

function showKinds() {
  const loaded = state.server?.models.map((model) => model.kind) ?? [];
  at("kinds").setAttribute("aria-label", text("kind"));
  const focused = at("kinds").contains(document.activeElement);
  at("kinds").replaceChildren(
    ...["auto", "head", "hand"].map((kind) => {
      const input = make("input", { type: "radio", name: "kind", value: kind, checked: kind === state.kind });
      input.disabled = kind === "auto" ? loaded.length < 2 : !loaded.includes(kind);
      const label = make("label", {}, input, make("span", {}, text(kind)));
      if (input.disabled) label.title = text("notLoaded");
      return label;
    }),
  );
  if (focused) at("kinds").querySelector(":checked")?.focus();
}

function showError() {
  const { error } = state;
  at("error").hidden = !error;
  if (error) at("error").textContent = texts.errorText(error);
}

function showMeridians() {
  const { answer, hidden } = state;
  const codes = Object.keys(state.server.colours).filter((code) => answer.points.some((point) => point.meridian === code));
  at("meridians").replaceChildren(
    ...codes.map((code) => {
      const button = make("button", { type: "button", title: texts.meridianName(code) }, swatch(code), code);
      button.setAttribute("aria-pressed", !hidden.has(code));
      button.addEventListener("click", () => {
        hidden.has(code) ? hidden.delete(code) : hidden.add(code);
        button.setAttribute("aria-pressed", !hidden.has(code));
        showPoints();
      });
      return button;
    }),
  );
}

const reaches = (point, threshold) => (point.confidence ?? 1) >= threshold;
const isVisible = (point) => reaches(point, state.threshold);

function showPoints() {
  const { answer } = state;
  if (!answer) {
    at("overlay").replaceChildren();
    return;
  }
  at("slider").value = state.threshold;
  at("value").textContent = state.threshold.toFixed(2);
  at("count").textContent = texts.counted(answer.points.filter(isVisible).length, answer.points.length);
  showList();
  draw();
}

function marks() {
  const { answer, hidden, active } = state;
  const withHidden = answer.fit?.ok && at("hidden").checked;
  return answer.points.flatMap((point, index) => {
    const seen = isVisible(point);
    if (hidden.has(point.meridian) || !(seen || withHidden)) return [];
    return [mark(point, index, index === active, !seen)];
  });
}

function mark(point, index, active, hollow) {
  const colour = state.server.colours[point.meridian];
  return { index, x: point.x, y: point.y, colour, text: texts.shortName(point), active, hollow };
}

// The visible points of a camera's frame.
function liveMarks({ kind, points, threshold }) {
  const names = state.server.models.find((model) => model.kind === kind).points;
  const found = points.map(([x, y, confidence], index) => ({ ...names[index], x, y, confidence }));
  return found.flatMap((point, index) => (reaches(point, threshold) ? [mark(point, index, false, false)] : []));
}

// Runs as long as the viewfinder is open, and its switch on.
async function liveWhile(open) {
  const say = (rate, error, answer) => {
    at("liveFacts").textContent = error ? texts.liveTrouble(error) : rate ? texts.liveFacts(rate, answer) : "";
  };
  while (!open.aborted) {
    const stopping = new AbortController();
    const { signal } = stopping;
    open.addEventListener("abort", () => stopping.abort(), { signal });
    at("liveSwitch").addEventListener("change", () => stopping.abort(), { signal });
    if (at("liveSwitch").checked) {
      const connect = async () => {
        await meetServer(signal);
        return opened(`api/live?kind=${state.kind}`, signal);
      };
      await showLive(at("video"), at("live"), { connect, marks: liveMarks, say, signal });
    } else await new Promise((resolve) => signal.addEventListener("abort", resolve));
    at("live").replaceChildren();
    say(0, null);
  }
}

function draw() {
  const { answer } = state;
  if (!answer) return;
  const { width, height } = answer.picture;
  const unit = width / (at("sheet").clientWidth || width);
  drawSvg(at("overlay"), marks(), width, height, unit, at("names").checked);
}

function showList() {
  const { answer, hidden } = state;
  const groups = new Map();
  answer.points.forEach((point, index) => {
    if (hidden.has(point.meridian) || !(isVisible(point) || at("all").checked)) return;
    if (!groups.has(point.meridian)) groups.set(point.meridian, []);
    groups.get(point.meridian).push(entry(point, index));
  });
  at("list").replaceChildren(
    ...[...groups].map(([code, entries]) =>
      make("section", {}, make("h3", {}, swatch(code), texts.meridianName(code)), make("ul", {}, ...entries)),
    ),
  );
  if (!answer.points.some(isVisible)) at("list").prepend(make("p", { className: "note" }, text("noneVisible")));
}

function entry(point, index) {
  const seen = isVisible(point);
  const sure = texts.confidence(point.confidence, state.answer.model.evidence);
  const button = make(
    "button",
    { type: "button", className: seen ? "" : "hid" },
    make("span", {}, texts.pointName(point)),
    make("span", { className: "side" }, point.side ? text(point.side) : ""),
    make("span", { className: "sure" }, seen ? sure : `${sure} ✕`),
  );
  button.dataset.index = index;
  button.title = [point.location, point.use && text("use", point)].filter(Boolean).join("\n");
  if (!seen) button.setAttribute("aria-label", `${texts.pointName(point)}, ${sure}, ${text("notVisible")}`);
  return make("li", {}, button);
}

function activate(index, scroll) {
  if (index === state.active) return;
  state.active = index;
  for (const button of at("list").querySelectorAll("button")) {
    const is = Number(button.dataset.index) === index;
    button.classList.toggle("active", is);
    if (is && scroll) button.scrollIntoView({ block: "nearest" });
  }
  draw();
}

function size() {
  const { answer, zoom } = state;
  const { naturalWidth, naturalHeight } = at("image");
  const width = answer?.picture.width ?? naturalWidth;
  const height = answer?.picture.height ?? naturalHeight;
  if (!width) return;
  const room = at("stage").clientWidth;
  const tall = matchMedia("(max-width: 820px)").matches ? innerHeight * 0.72 : Math.min(innerHeight * 0.76, 820);
  const fit = Math.min(room / width, tall / height);
  at("sheet").style.width = `${Math.floor(width * fit * zoom)}px`;
  at("sheet").style.height = `${Math.floor(height * fit * zoom)}px`;
}

function zoomTo(zoom) {
  const box = at("scroll");
  const before = state.zoom;
  state.zoom = Math.min(12, Math.max(1, zoom));
  const [x, y] = [box.scrollLeft + box.clientWidth / 2, box.scrollTop + box.clientHeight / 2];
  size();
  box.scrollTo((x * state.zoom) / before - box.clientWidth / 2, (y * state.zoom) / before - box.clientHeight / 2);
  draw();
}

function make(tag, values, ...children) {
  const out = Object.assign(document.createElement(tag), values);
  out.append(...children);
  return out;
}

function swatch(code) {
  const out = make("i", { className: "swatch" });
  out.style.background = state.server.colours[code];
  return out;
}

// --- saving ---

function save(blob, ending) {
  const stem = (state.file.name || "picture").replace(/\.[^.]*$/, "");
  const link = make("a", { href: URL.createObjectURL(blob), download: `${stem}.points.${ending}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function saveJson() {
  const points = state.answer.points.map((point) => ({ ...point, visible: isVisible(point) }));
  const document = { ...state.answer, threshold: state.threshold, points };
  save(new Blob([JSON.stringify(document, null, 1)], { type: "application/json" }), "json");
}

function savePicture() {
  if (!at("image").naturalWidth) return; // noPreview is shown already
  const { width, height } = state.answer.picture;
  const shown = marks();
  const codes = Object.keys(state.server.colours).filter((code) => shown.some(({ index }) => state.answer.points[index].meridian === code));
  const meridians = codes.map((code) => ({ name: texts.meridianName(code), colour: state.server.colours[code] }));
  const notice = text("notice").split(/(?<=[.。])/)[0];
  drawCanvas(at("image"), shown, width, height, at("names").checked, meridians, notice).toBlob(
    (blob) => save(blob, "jpg"),
    "image/jpeg",
    0.93,
  );
}

// --- events ---

function listen() {
  const on = (id, event, what) => at(id).addEventListener(event, what);
  on("language", "click", () => {
    texts.setLanguage(texts.language() === "zh" ? "en" : "zh");
    show();
  });
  on("kinds", "change", (event) => {
    state.kind = event.target.value;
    send();
  });
  for (const id of ["choose", "empty"]) on(id, "click", () => at("file").click());
  on("file", "change", () => {
    take(at("file").files[0]);
    at("file").value = ""; // so that the same file can be chosen again
  });
  on("camera", "click", async () => {
    state.error = null;
    try {
      take(await openCamera(at("viewfinder"), at("video"), at("shoot"), at("cancel"), liveWhile));
    } catch (error) {
      state.error = error instanceof Trouble ? error : new Trouble("brokenCamera");
    }
    showError();
  });
  on("slider", "input", () => {
    state.threshold = Number(at("slider").value);
    showPoints();
  });
  for (const id of ["names", "hidden"]) on(id, "change", draw);
  on("all", "change", showPoints);
  on("saveJson", "click", saveJson);
  on("savePicture", "click", savePicture);
  on("closer", "click", () => zoomTo(state.zoom * 1.5));
  on("farther", "click", () => zoomTo(state.zoom / 1.5));
  at("scroll").addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoomTo(state.zoom * (event.deltaY < 0 ? 1.15 : 1 / 1.15));
    },
    { passive: false },
  );
  const indexOf = (event) => {
    const part = event.target.closest?.("[data-index]");
    return part ? Number(part.dataset.index) : null;
  };
  for (const event of ["pointermove", "click"]) on("overlay", event, (e) => activate(indexOf(e), true));
  for (const event of ["pointerover", "focusin", "click"]) on("list", event, (e) => activate(indexOf(e) ?? state.active, false));
  on("list", "keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...at("list").querySelectorAll("button")];
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
    event.preventDefault();
  });
  listenForFiles();
  addEventListener("resize", () => {
    size();
    draw();
  });
}

function listenForFiles() {
  const over = (is) => at("stage").classList.toggle("over", is);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    over(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || over(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => take([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
}

start();
