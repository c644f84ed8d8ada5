// The texts of the page, in English and Chinese.

export const LANGUAGES = { en: "English", zh: "中文" };

const TEXTS = {
  title: ["Acupoint finder", "穴位识别"],
  choose: ["Choose a picture", "选择图片"],
  camera: ["Camera", "拍照"],
  drop: ["Drop a picture here", "将图片拖放到此处"],
  dropMore: ["or click to choose one, or paste it. PNG or JPEG.", "或点击选择，也可直接粘贴。支持 PNG 和 JPEG。"],
  kind: ["What the picture shows", "图片内容"],
  auto: ["Detect", "自动"],
  head: ["Head", "头部"],
  hand: ["Hand", "手部"],
  notLoaded: ["no such model is loaded", "未加载该模型"],
  working: ["Finding acupoints …", "正在识别穴位……"],
  threshold: ["Minimum confidence", "最低置信度"],
  names: ["Names in the picture", "在图上显示名称"],
  hiddenPoints: ["Hidden points, as rings", "以圆环显示被遮挡的穴位"],
  saveJson: ["Download JSON", "下载 JSON"],
  savePicture: ["Download picture", "下载图片"],
  all: ["Also list points that are not visible", "同时列出不可见的穴位"],
  noneVisible: [
    "No point reaches this confidence. Move the slider to the left to see less certain ones.",
    "没有穴位达到此置信度。向左移动滑块可显示把握较小的穴位。",
  ],
  meridians: ["Meridians shown", "显示的经络"],
  listLabel: ["Acupoints found", "识别出的穴位"],
  pictureLabel: ["The picture with its acupoints", "带穴位标记的图片"],
  zoomIn: ["Zoom in", "放大"],
  zoomOut: ["Zoom out", "缩小"],
  shoot: ["Take the picture", "拍摄"],
  cancel: ["Cancel", "取消"],
  live: ["Show acupoints live", "实时显示穴位"],
  liveRate: ["{rate} pictures a second", "每秒 {rate} 帧"],
  liveNoFace: ["No face found: these points may be anywhere", "未检测到面部：这些穴位可能不准确"],
  liveNothing: [
    "Neither a face nor a hand was found. Point the camera at one.",
    "未检测到面部或手部。请将镜头对准面部或手部。",
  ],
  use: ["Classical use (Zhenjiu Dacheng, 1601): {use}", "《针灸大成》（1601）所载主治：{use}"],
  notVisible: ["hidden", "不可见"],
  left: ["left", "左"],
  right: ["right", "右"],
  mid: ["mid", "中"],
  notice: [
    "Research software. It is not a medical device, its points can be wrong, and nothing here is medical advice. Left and right are the person's own.",
    "本软件仅供研究。它不是医疗器械，识别结果可能有误，页面内容不构成医疗建议。左右以被拍摄者自身为准。",
  ],
  privacy: [
    "The picture is sent only to the server of this page, kept in its memory while it is processed, and then deleted.",
    "图片只会发送到提供本页面的服务器，处理期间保存在内存中，随后即被清除。",
  ],
  visibility: [
    "Confidence: the probability, according to the model, that the point is visible in the picture.",
    "置信度：模型认为该穴位在图中可见的概率。",
  ],
  peak: [
    "Confidence: the height of the point's heatmap, which is not a probability.",
    "置信度：该穴位热图的峰值，并非概率。",
  ],
  none: [
    "This model gives positions only: neither a confidence nor whether a point is hidden.",
    "该模型只给出位置，不提供置信度，也不判断穴位是否被遮挡。",
  ],
  unreachable: [
    "The server cannot be reached. Is it still running? Then try again.",
    "无法连接服务器。请确认其仍在运行后重试。",
  ],
  lostLive: [
    "The live connection was lost or could not be opened. Is the server running? A proxy in front of it must pass on websockets.",
    "实时连接已断开或无法建立。请确认服务器仍在运行；若其前有代理，代理须支持转发 WebSocket。",
  ],
  tooLarge: [
    "The file is larger than {mib} MiB. Make it smaller, for example as a JPEG.",
    "文件超过 {mib} MiB。请缩小后再试，例如存为 JPEG。",
  ],
  unreadable: [
    "The browser cannot read this file: it is a folder, or was moved or changed. Choose a picture again.",
    "浏览器无法读取此文件：它可能是文件夹，或已被移动、更改。请重新选择图片。",
  ],
  proxyLimit: [
    "The proxy in front of the server refused the picture as too large. Send a smaller one, or raise the proxy's limit.",
    "服务器前的代理因图片过大而拒绝。请发送较小的图片，或调高代理的上传限制。",
  ],
  proxyLogin: [
    "The proxy in front of the server requires a login. Reload this page and log in.",
    "服务器前的代理要求登录。请重新加载本页面并登录。",
  ],
  proxyLost: [
    "The proxy in front of the server cannot reach it, or timed out (status {status}). Try again in a minute.",
    "服务器前的代理无法连接服务器或等待超时（状态码 {status}）。请稍后再试。",
  ],
  strange: [
    "The answer is not from this page's server (status {status}). Check the address and reload the page.",
    "应答并非来自本页面的服务器（状态码 {status}）。请检查地址并重新加载页面。",
  ],
  noCamera: ["No camera was found.", "未找到摄像头。"],
  refusedCamera: [
    "The browser has no permission to use the camera. Allow it in the address bar, or choose a picture.",
    "浏览器未获得摄像头权限。请在地址栏允许，或选择图片。",
  ],
  brokenCamera: ["The camera cannot be used; another program may be using it.", "摄像头不可用，可能被其他程序占用。"],
  insecureCamera: [
    "Browsers allow the camera only at localhost or over HTTPS. Choose a picture instead.",
    "浏览器仅在 localhost 或 HTTPS 下允许使用摄像头。请选择图片。",
  ],
  broken: ["An error occurred in this page. Reload it.", "页面出错，请重新加载。"],
  noPreview: [
    "The browser cannot show or save this picture; its points are listed.",
    "浏览器无法显示或保存此图片；穴位见列表。",
  ],
};

const FULL = {
  LI: ["Large Intestine", "手阳明大肠经"],
  ST: ["Stomach", "足阳明胃经"],
  SI: ["Small Intestine", "手太阳小肠经"],
  BL: ["Bladder", "足太阳膀胱经"],
  SJ: ["Triple Energizer", "手少阳三焦经"],
  GB: ["Gallbladder", "足少阳胆经"],
  EX: ["Extra points", "经外奇穴"],
  RN: ["Conception Vessel", "任脉"],
  DU: ["Governor Vessel", "督脉"],
};

let place = 0;

export function language() {
  return place ? "zh" : "en";
}

// The language of the address (#lang=zh), else the one chosen last, else the browser's.
export function restoreLanguage() {
  const requested = new URLSearchParams(location.hash.slice(1)).get("lang");
  const known = [requested, stored(), navigator.language.slice(0, 2)].find((name) => name in LANGUAGES);
  place = known === "zh" ? 1 : 0;
}

export function setLanguage(name) {
  place = name === "zh" ? 1 : 0;
  history.replaceState(null, "", `#lang=${name}`);
  try {
    localStorage.setItem("lang", name);
  } catch {
    // The browser keeps nothing; the address does.
  }
}

function stored() {
  try {
    return localStorage.getItem("lang");
  } catch {
    return null;
  }
}

export const text = (key, values = {}) => TEXTS[key][place].replace(/{(\w+)}/g, (_, name) => values[name]);

// An error as the key of a text, so that it can be shown in either language.
export class Trouble extends Error {
  constructor(key, values) {
    super(key);
    Object.assign(this, { key, values });
  }
}

// A Trouble, or an error as the server sends it, in words.
export function errorText(error) {
  if (error instanceof Trouble) return text(error.key, error.values);
  return error.message_zh ? (place ? error.message_zh : error.message) : text("broken");
}

// The same under the viewfinder, where nothing can be selected.
export function liveTrouble(error) {
  return error.code === "undecided" ? text("liveNothing") : errorText(error);
}

export function liveFacts(rate, { face }) {
  const facts = [text("liveRate", { rate: rate.toFixed(0) })];
  if (face === false) facts.push(text("liveNoFace"));
  return facts.join(" · ");
}

export const meridianName = (code) => (FULL[code] ? `${code} · ${FULL[code][place]}` : code);

export function facts(answer) {
  const { picture, model, timing_ms: ms } = answer;
  const source = model.made_by.run ?? model.made_by.file ?? "";
  const seconds = ((ms.decode + ms.model + ms.waited) / 1000).toFixed(2);
  const kind = text(answer.kind);
  const size = `${picture.width} × ${picture.height}`;
  const which = answer.hand ? ` · ${handType(answer.hand)}` : "";
  const more = [answer.crop ? CROPS[answer.crop.reason][place] : "", answer.pose && answer.fit.ok ? pose(answer.pose) : ""];
  const tail = more.filter(Boolean).map((part) => ` · ${part}`).join("");
  if (place) return `${answer.chosen === "detected" ? "检测为" : ""}${kind}${which} · ${size}${tail} · 模型 ${source} · ${seconds} 秒`;
  return `${answer.chosen === "detected" ? "Detected: " : ""}${kind}${which} · ${size}${tail} · model ${source} · ${seconds} s`;
}

// What the model saw of the picture, by the reason that the server gives.
const CROPS = {
  face: ["seen: the head around the face", "识别范围：面部所在的头部"],
  largest_face: ["seen: the head around the largest face", "识别范围：最大面部所在的头部"],
  fills: ["seen: the whole picture", "识别范围：整张图片"],
  no_face: ["seen: the whole picture, no face found", "识别范围：整张图片（未检测到面部）"],
  no_detector: ["seen: the whole picture, no face detector installed", "识别范围：整张图片（未安装面部检测器）"],
  off: ["seen: the whole picture", "识别范围：整张图片"],
};

// How the head is turned, in whole degrees.
function pose({ yaw, pitch, roll }) {
  const names = place ? ["偏转", "俯仰", "侧倾"] : ["yaw", "pitch", "roll"];
  return [yaw, pitch, roll].map((angle, index) => `${names[index]} ${Math.round(angle)}°`).join(" ");
}

// Which hand the model takes it for, each trait with its probability.
function handType({ side, face }) {
  const words = { left: ["left hand", "左手"], right: ["right hand", "右手"], back: ["its back", "手背"], palm: ["its palm", "手掌"] };
  const traits = [side, face].map(({ value, probability }) => `${words[value][place]} ${Math.floor(100 * probability)} %`);
  return traits.join(place ? "，" : ", ");
}

export const counted = (visible, all) => (place ? `${visible} / ${all} 个穴位可见` : `${visible} of ${all} points visible`);

// Probabilities as percentages; heights of peaks, which are not probabilities, as numbers.
export function confidence(value, evidence) {
  if (value === null) return "";
  return evidence === "peak" ? value.toFixed(2) : `${Math.round(100 * value)} %`;
}

export function pointName(point) {
  const { standard_code: code, zh, pinyin } = point;
  return (place ? [zh, code] : [code, pinyin, zh]).filter(Boolean).join(" ");
}

// The label of a dot: short, with the side.
export function shortName(point) {
  const side = { left: ["L", "左"], right: ["R", "右"] }[point.side]?.[place] ?? "";
  return (place && point.zh ? point.zh : point.standard_code) + side;
}
