// In the audio thread: gather mono blocks of some 20 ms as 16-bit integers.

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(Math.round(sampleRate / 50));
    this.filled = 0;
  }

  process([channels]) {
    for (const sample of channels[0] || []) {
      this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block.buffer.slice(0));
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
