// This browser's microphone as a source of the monitor: raw 16-bit frames over a WebSocket, and nothing else.

const AGAIN_MS = 2000;
const microphone = { wanted: false, where: null, socket: null, stop: null, text: "" };

// Show the button where the stream listens for a browser on this machine; browsers give a microphone to no other page.
export function microphoneButton(button, stream) {
  const where = /^listen\+ws:\/\/(127\.0\.0\.1|localhost):(\d+)/.exec(stream.device || "");
  button.hidden = !where || !window.isSecureContext;
  if (button.hidden) return;
  microphone.where = `ws://${where[1]}:${where[2]}/`;
  button.classList.toggle("on", microphone.wanted);
  button.textContent = microphone.text || (microphone.wanted ? "Stop this browser's microphone" : "Use this browser's microphone");
  button.onclick = () => {
    microphone.text = "";
    microphone.wanted = !microphone.wanted;
    if (microphone.wanted) open();
    else close();
    microphoneButton(button, stream);
  };
}

// The socket comes first: while the stream is muted nobody listens there, and the microphone stays closed.
function open() {
  if (!microphone.wanted) return;
  const context = new AudioContext();
  const socket = new WebSocket(`${microphone.where}?format=s16le&rate=${context.sampleRate}`);
  socket.binaryType = "arraybuffer";
  microphone.socket = socket;
  socket.onopen = () => capture(context, socket).catch((error) => {
    microphone.wanted = false;
    microphone.text = `No microphone: ${error.message}`;
    socket.close();
  });
  socket.onclose = () => {
    release();
    context.close();
    if (microphone.wanted) setTimeout(open, AGAIN_MS);
  };
}

async function capture(context, socket) {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
  const media = await navigator.mediaDevices.getUserMedia({ audio: plain });
  microphone.stop = () => media.getTracks().forEach((track) => track.stop());
  if (socket.readyState !== WebSocket.OPEN) return release();
  await context.audioWorklet.addModule("recorder.js");
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  recorder.port.onmessage = (event) => {
    if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < 500000) socket.send(event.data);
  };
  context.createMediaStreamSource(media).connect(recorder);
  await context.resume();
}

function release() {
  if (microphone.stop) microphone.stop();
  microphone.stop = null;
}

function close() {
  release();
  if (microphone.socket) microphone.socket.close();
}
