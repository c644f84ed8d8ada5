// A picture from the camera, taken in a dialog.

import { Trouble } from "./texts.js";

// Resolves to a JPEG file, or to null where it was cancelled; fails with a Trouble. onOpen is called with a signal that
// ends with the dialog.
export async function openCamera(dialog, video, shoot, cancel, onOpen) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Trouble("insecureCamera");
  let stream;
  try {
    const wanted = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1440 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch (error) {
    if (["NotAllowedError", "SecurityError"].includes(error.name)) throw new Trouble("refusedCamera");
    if (["NotFoundError", "OverconstrainedError"].includes(error.name)) throw new Trouble("noCamera");
    throw new Trouble("brokenCamera");
  }
  const closing = new AbortController();
  video.srcObject = stream;
  dialog.showModal();
  onOpen(closing.signal);
  try {
    return await new Promise((resolve, reject) => {
      shoot.onclick = () => frameOf(video).then(resolve, reject);
      cancel.onclick = () => resolve(null);
      dialog.oncancel = () => resolve(null);
    });
  } finally {
    closing.abort();
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    dialog.close();
  }
}

// The video's present frame as a JPEG file, no side longer than ``side``.
export async function frameOf(video, side = Infinity, quality = 0.95) {
  const { videoWidth, videoHeight } = video;
  if (!videoWidth) throw new Trouble("brokenCamera"); // it has sent nothing yet
  const factor = Math.min(1, side / Math.max(videoWidth, videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(videoWidth * factor);
  canvas.height = Math.round(videoHeight * factor);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
  if (!blob) throw new Trouble("brokenCamera");
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
