// A picture from the camera, taken in a dialog.

// Resolves to a JPEG file, or to null where it was cancelled; fails with the key of a text.
export async function openCamera(dialog, video, shoot, cancel) {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error("insecureCamera");
  let stream;
  try {
    const wanted = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1440 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch (error) {
    const keys = { NotAllowedError: "refusedCamera", NotFoundError: "noCamera" };
    throw new Error(keys[error.name] ?? "brokenCamera");
  }
  video.srcObject = stream;
  dialog.showModal();
  try {
    return await new Promise((resolve) => {
      shoot.onclick = () => frameOf(video).then(resolve);
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
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
