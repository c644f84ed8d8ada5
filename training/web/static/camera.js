// A picture from the camera, taken in a dialog.

import { Trouble } from "./texts.js";

// Resolves to a JPEG file, or to null where it was cancelled; fails with a Trouble.
export async function openCamera(dialog, video, shoot, cancel) {
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
  video.srcObject = stream;
  dialog.showModal();
  try {
    return await new Promise((resolve, reject) => {
      shoot.onclick = () => frameOf(video).then(resolve, reject);
      cancel.onclick = () => resolve(null);
      dialog.oncancel = () => resolve(null);
    });
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    dialog.close();
  }
}

async function frameOf(video) {
  if (!video.videoWidth) throw new Trouble("brokenCamera"); // it has sent nothing yet
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  if (!blob) throw new Trouble("brokenCamera");
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
