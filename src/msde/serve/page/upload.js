// Files in: dropped or chosen, sent one by one with progress; a full queue is waited for.

import { askToSignIn, query, said, seconds, send } from "./api.js";
import { $, h, later, say } from "./dom.js";
import { bytes, counted } from "./words.js";

const AT_ONCE = 2;
const LOST = 6; // tries where there is no answer
const ROOM = 0.95; // of the limits, as headers count too
const OTHER = /\.(png|jpe?g|tiff?|bmp|webp|gif|jp2|j2k|nii|nii\.gz|zip|svs|ndpi|npy|txt|csv|json|html?|pdf)$/i;

/** Files of a drop with their paths, folders opened. */
const dropped = async (transfer) => {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
  return (await Promise.all(entries.map(opened))).flat();
};

const opened = async (entry) => {
  const path = entry.fullPath.slice(1);
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    return file && !file.name.startsWith(".") ? [{ file, path }] : [];
  }
  const reader = entry.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) break;
    all.push(...some); // a reader gives a hundred at a time
  }
  return (await Promise.all(all.map(opened))).flat();
};

/** What is sent together: slices of a series, which are the DICOM files of a folder; all else by itself. */
const parcels = (files, limits) => {
  const folders = new Map();
  const made = [];
  for (const { file, path } of files) {
    if (OTHER.test(path)) {
      made.push({ name: path, files: [file] });
      continue;
    }
    const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
    let parcel = folders.get(folder);
    const full = parcel && (parcel.files.length >= limits.files || parcel.size + file.size > ROOM * limits.upload_bytes);
    if (!parcel || full) {
      parcel = { name: folder || path, files: [], size: 0 };
      folders.set(folder, parcel);
      made.push(parcel);
    }
    parcel.files.push(file);
    parcel.size += file.size;
  }
  return made;
};

const bodyOf = ({ files }) => {
  if (files.length === 1) return files[0];
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  return form;
};

/** `arrived()` is called when images have come in. */
export class Uploads {
  constructor(arrived) {
    this.arrived = arrived;
    this.limits = null;
    this.model = null;
    this.waiting = [];
    this.running = 0;
    this.clear();
    for (const id of ["files", "folder"]) {
      $(id).addEventListener("change", ({ target }) => {
        this.add([...target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
        target.value = "";
      });
    }
    $("arrivals-stop").addEventListener("click", () => this.stop());
    $("arrivals-close").addEventListener("click", () => {
      $("arrivals").hidden = true;
    });
    this.takeDrops();
  }

  clear() {
    Object.assign(this, { sent: 0, size: 0, images: 0, known: 0, busy: "", stopped: new AbortController() });
    $("arrivals-refused").replaceChildren();
  }

  takeDrops() {
    const zone = $("drop");
    let depth = 0;
    const show = (by) => {
      depth = Math.max(0, depth + by);
      zone.hidden = depth === 0;
    };
    const ofFiles = (act) => (event) => {
      if (!event.dataTransfer?.types.includes("Files") || !this.limits) return;
      event.preventDefault();
      act(event);
    };
    document.addEventListener("dragenter", ofFiles(() => show(1)));
    document.addEventListener("dragleave", ofFiles(() => show(-1)));
    document.addEventListener("dragover", ofFiles((event) => {
      event.dataTransfer.dropEffect = "copy";
    }));
    document.addEventListener("drop", ofFiles(async (event) => {
      show(-depth);
      this.add(await dropped(event.dataTransfer));
    }));
  }

  add(files) {
    if (!files.length) return;
    if (!this.running) this.clear();
    const made = parcels(files, this.limits).map((parcel) => ({ ...parcel, model: this.model }));
    for (const parcel of made) {
      parcel.size = parcel.files.reduce((sum, file) => sum + file.size, 0);
      this.size += parcel.size;
    }
    this.waiting.push(...made);
    $("arrivals").hidden = false;
    $("arrivals-stop").hidden = false;
    $("arrivals-close").hidden = true;
    say(`${counted(files.length, "file")} on the way.`);
    this.draw();
    while (this.running < AT_ONCE && this.waiting.length) this.run();
  }

  async run() {
    this.running += 1;
    while (this.waiting.length) {
      await this.deliver(this.waiting.shift());
      this.arrived();
    }
    this.running -= 1;
    if (!this.running) this.end();
  }

  /** Send a parcel until it is taken or refused for good. The same bytes are kept once, however often they come. */
  async deliver(parcel) {
    const { signal } = this.stopped;
    const path = `api/images${query({ model: parcel.model })}`;
    if (parcel.size > this.limits.upload_bytes) {
      this.refuse(parcel.name, `is over the limit of ${bytes(this.limits.upload_bytes)} for one upload.`);
      this.sent += parcel.size;
      return;
    }
    for (let lost = 1; !signal.aborted; ) {
      // Two parcels under way share the count, each by what it has added.
      let own = 0;
      const { status, body, retryAfter } = await send(path, parcel.name, bodyOf(parcel), (loaded) => {
        const now = Math.min(loaded, parcel.size);
        this.sent += now - own;
        own = now;
        this.draw();
      }, signal);
      if (signal.aborted) return;
      if (status === 202) {
        this.sent += parcel.size - own;
        this.take(body);
        return;
      }
      this.sent -= own;
      if (status === 401) {
        await askToSignIn();
      } else if (status === 429 || status === 503 || (status === 0 && lost < LOST)) {
        if (status === 0) lost += 1;
        const pause = seconds(retryAfter, Math.min(2 ** lost, 30));
        await this.pause(pause, status === 0 ? "The service does not answer" : "The service is busy");
      } else {
        this.sent += parcel.size;
        this.refuse(parcel.name, status ? said(body.detail, status) : "The service does not answer. Send it again later.");
        return;
      }
    }
  }

  async pause(pause, why) {
    for (let left = pause; left > 0 && !this.stopped.signal.aborted; left--) {
      this.busy = ` ${why}; trying again in ${left} s.`;
      this.draw();
      await later(1000);
    }
    this.busy = "";
  }

  take({ images, refused }) {
    this.busy = "";
    this.images += images.length;
    this.known += images.filter(({ known }) => known).length;
    for (const { name, reason } of refused) this.refuse(name, reason);
    this.draw();
  }

  refuse(name, reason) {
    const text = reason.startsWith(name) ? reason : `${name}: ${reason}`;
    $("arrivals-refused").append(h("li", {}, h("bdi", {}, text)));
  }

  stop() {
    this.waiting = [];
    this.stopped.abort();
  }

  end() {
    $("arrivals-stop").hidden = true;
    $("arrivals-close").hidden = false;
    this.draw();
    say($("arrivals-says").textContent);
  }

  draw() {
    const over = !this.running && !this.waiting.length;
    const refused = $("arrivals-refused").children.length;
    const parts = [`${counted(this.images, "image")} received`];
    if (this.known) parts.push(`${this.known.toLocaleString("en-GB")} of them ${this.known === 1 ? "was" : "were"} here before`);
    if (refused) parts.push(`${counted(refused, "file")} refused`);
    if (over && this.stopped.signal.aborted) parts.push("stopped");
    const share = over ? "" : `Sending ${bytes(this.sent)} of ${bytes(this.size)}: `;
    $("arrivals-says").textContent = `${share}${parts.join("; ")}.${this.busy}`;
    $("arrivals-progress").hidden = over;
    $("arrivals-progress").max = Math.max(this.size, 1);
    $("arrivals-progress").value = this.sent;
  }
}
