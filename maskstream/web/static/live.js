/**
 * The WebSocket that delivers tiles, states of cameras and events.
 *
 * Dispatches "status", "cameras", "tile" and "event". Whoever draws a tile calls `preventDefault`, and acknowledges the tile once
 * it is drawn: the server sends the next one of that camera only then. A hidden page watches no camera.
 */

import { access, address, get } from "./api.js";
import { findSession } from "./session.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const CLOCK_DRIFT = 1e-4;
const CLOCK_STEP_MS = 30_000;
const decoder = new TextDecoder();

export class Live extends EventTarget {
  #socket = null;
  #wanted = { cameras: [], rate: 5 };
  #sent = "";
  #waitMs = FIRST_WAIT_MS;
  #timer = 0;
  #isStopped = true;
  #hasOpened = false;
  #transit = new Transit();
  #visibility = () => this.#visibilityChanged();

  /** connecting, open, lost, or absent: the server runs no cameras. */
  status = "connecting";
  /** The newest views of the cameras, by name. */
  cameras = new Map();

  start() {
    this.#isStopped = false;
    document.addEventListener("visibilitychange", this.#visibility);
    addEventListener("online", this.#visibility);
    this.#connect();
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this.#visibility);
    removeEventListener("online", this.#visibility);
    this.#socket?.close();
    this.#socket = null;
  }

  /** Watch these cameras: [{camera, width}]. It replaces the cameras watched before. */
  watch(cameras, rate = 5) {
    this.#wanted = { cameras, rate };
    this.#sendWatch();
  }

  acknowledge(header) {
    this.#send({ type: "ack", camera: header.camera, frame: header.frame });
  }

  #connect() {
    const url = address("live");
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => this.#opened());
    socket.addEventListener("message", (message) => this.#received(message.data));
    socket.addEventListener("close", () => this.#closed(socket));
    this.#socket = socket;
    this.#sent = "";
  }

  #opened() {
    this.#waitMs = FIRST_WAIT_MS;
    this.#hasOpened = true;
    this.#setStatus("open");
    this.#sendWatch();
  }

  #received(data) {
    if (data instanceof ArrayBuffer) {
      this.#receivedTile(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "cameras") {
      this.cameras = new Map(message.cameras.map((view) => [view.camera, view]));
      this.dispatchEvent(new CustomEvent("cameras", { detail: this.cameras }));
    } else if (message.type === "event") {
      this.dispatchEvent(new CustomEvent("event", { detail: message.event }));
    }
  }

  #receivedTile(data) {
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(decoder.decode(new Uint8Array(data, 4, length)));
    const jpeg = new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" });
    const receivedMs = performance.now();
    const lateS = this.#transit.lateS(header, receivedMs);
    const detail = { header, jpeg, takenMs: receivedMs - 1000 * (header.age_s + lateS) };
    const isDrawn = !this.dispatchEvent(new CustomEvent("tile", { detail, cancelable: true }));
    if (!isDrawn) this.acknowledge(header);
  }

  async #closed(socket) {
    if (this.#socket !== socket || this.#isStopped) return;
    this.#setStatus("lost");
    try {
      if ((await findSession()) === null) {
        access.dispatchEvent(new Event("signed-out"));
        return;
      }
      if (!this.#hasOpened && (await get("cameras")).cameras.length === 0) this.#setStatus("absent");
    } catch {
      // The server does not answer: it is tried again.
    }
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => this.#connect(), this.#waitMs * (0.75 + Math.random() / 2));
    this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
  }

  #visibilityChanged() {
    this.#sendWatch();
    if (document.visibilityState === "visible" && this.#socket?.readyState === WebSocket.CLOSED) {
      clearTimeout(this.#timer);
      this.#connect();
    }
  }

  #sendWatch() {
    const { cameras, rate } = this.#wanted;
    const isVisible = document.visibilityState === "visible";
    const text = JSON.stringify({ type: "watch", cameras: isVisible ? cameras : [], rate });
    if (text !== this.#sent && this.#send(text)) this.#sent = text;
  }

  #send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
    return true;
  }

  #setStatus(status) {
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }
}

/**
 * Measures how much later than the fastest tile a tile arrived. The server's age ends when the tile is sent; on a slow network the
 * picture is older when it is drawn. The clocks of server and browser need not agree, and may drift.
 */
class Transit {
  #least = Infinity;
  #lastMs = 0;

  lateS(header, receivedMs) {
    const transit = receivedMs - (Date.parse(header.time_utc) + 1000 * header.age_s);
    if (!Number.isFinite(transit)) return 0;
    const least = Math.min(this.#least + CLOCK_DRIFT * (receivedMs - this.#lastMs), transit);
    this.#least = transit - least > CLOCK_STEP_MS ? transit : least;
    this.#lastMs = receivedMs;
    return (transit - this.#least) / 1000;
  }
}
