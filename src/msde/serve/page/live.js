// What others do, as it happens: the service tells, and where it cannot, the page asks every few seconds.

const AGAIN = 30000; // ms before it is tried anew where the service refuses, or is away

/** `told({kinds, images})` is called with what has changed, images being null where it may be any. */
export class Live {
  constructor(told) {
    this.told = told;
    this.source = null;
    this.on = false;
    // A page that nobody sees takes no connection, of which a browser has few to one service.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
  }

  open() {
    this.close();
    if (document.hidden) return;
    const source = (this.source = new EventSource("api/events"));
    source.addEventListener("begin", () => {
      this.on = true;
      this.told({ kinds: ["images", "verdicts"], images: null }); // what was missed
    });
    source.addEventListener("change", ({ data }) => this.told(JSON.parse(data)));
    source.addEventListener("error", () => {
      this.on = false;
      this.told({ kinds: [], images: [] });
      if (source.readyState === EventSource.CLOSED) this.later();
    });
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), AGAIN);
  }

  close() {
    clearTimeout(this.timer);
    this.on = false;
    this.source?.close();
    this.source = null;
  }
}
