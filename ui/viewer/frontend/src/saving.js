/**
 * Sends what the reader enters to the server, which alone keeps it: every change as a draft, the case as one answer,
 * and signs of life. A lost connection is retried until the server has answered; sending twice does no harm there.
 */
const TYPING_MS = 200;
const RETRY_MS = [500, 1000, 2000, 4000];
const ALIVE_MS = 10_000;
const SIGNS_OF_LIFE = ["pointermove", "pointerdown", "keydown", "wheel", "touchstart"];

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What the server answers where sending again would not help. */
export class Turned extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** In a preview: everything is complete at once, and nothing leaves the browser. */
export class NotSaving {
  change = Infinity; // nothing from elsewhere is newer
  begin() {}
  changed() {}
  submit() { return Promise.resolve({ already: false }); }
  close() {}
}

export class Saving {
  /**
   * @param {(state: "saved"|"saving"|"retrying"|"failed", message?: string) => void} onState
   * @param {() => void} onStale   another window holds newer entries, or the case is no longer open
   */
  constructor({ onState, onStale }) {
    Object.assign(this, { onState, onStale, item: null, seen: false });
    this.noteLife = () => { this.seen = true; };
    for (const sign of SIGNS_OF_LIFE) window.addEventListener(sign, this.noteLife, { passive: true, capture: true });
    this.beating = setInterval(() => this.#tellLife(), ALIVE_MS);
    this.leave = () => this.#flush();
    window.addEventListener("pagehide", this.leave);
    this.warn = (event) => { if (this.unsaved) event.preventDefault(); };
    window.addEventListener("beforeunload", this.warn);
  }

  /** Start on a case. `change` is the count of the changes that the server has. */
  begin({ token, revision, change }) {
    clearTimeout(this.timer);
    this.item = { token, revision, change, entry: null, sending: false, over: false };
  }

  /** The reader changed something. */
  changed(entry) {
    if (this.item.over) return;
    this.item.entry = entry;
    this.item.change += 1;
    this.onState("saving");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#sendDrafts(this.item), TYPING_MS);
  }

  /** How many changes this window has counted, on from what the server had. */
  get change() { return this.item?.change ?? 0; }

  get unsaved() { return Boolean(this.item && !this.item.over && (this.item.entry || this.item.sending)); }

  /** Submit; resolves with the server's receipt, however long the connection is away. */
  async submit(entry) {
    const { item } = this;
    clearTimeout(this.timer);
    item.over = true; // drafts that are still on their way come too late, and the server refuses them
    item.change += 1;
    const body = { change: item.change, revision: item.revision, entry };
    try {
      return await this.#insist(item, "submit", body);
    } catch (error) {
      item.over = false;
      throw error;
    }
  }

  close() {
    this.#flush();
    clearTimeout(this.timer);
    clearInterval(this.beating);
    for (const sign of SIGNS_OF_LIFE) window.removeEventListener(sign, this.noteLife, { capture: true });
    window.removeEventListener("pagehide", this.leave);
    window.removeEventListener("beforeunload", this.warn);
    this.item = null;
  }

  async #sendDrafts(item) {
    if (item.sending) return;
    item.sending = true;
    try {
      while (item.entry && !item.over && this.item === item) {
        const entry = item.entry;
        item.entry = null;
        const { change } = await this.#insist(item, "draft", { change: item.change, entry });
        if (change > item.change) return this.onStale();
      }
      if (this.item === item && !item.over) this.onState("saved");
    } catch (error) {
      if (this.item === item && !item.over) this.#turned(error);
    } finally {
      item.sending = false;
    }
  }

  #turned(error) {
    if (error.status === 409 || error.status === 404) this.onStale();
    else if (error.status) this.onState("failed", error.message);
  }

  /** POST until the server has answered. */
  async #insist(item, what, body) {
    for (let tries = 0; ; tries++) {
      if (tries) await wait(RETRY_MS[Math.min(tries, RETRY_MS.length) - 1]);
      const superseded = what === "draft" && (item.over || this.item !== item);
      if (superseded) throw new Turned(0, "superseded");
      try {
        const response = await this.#post(item, what, body);
        if (response.ok) return await response.json();
        const message = await response.text();
        if (response.status < 500) throw new Turned(response.status, message);
      } catch (error) {
        if (error instanceof Turned) throw error;
      }
      this.onState("retrying");
    }
  }

  #post(item, what, body, options = {}) {
    return fetch(`/api/cases/${item.token}/${what}`, {
      method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body), ...options,
    });
  }

  async #tellLife() {
    if (!this.seen || !this.item || this.item.over) return;
    this.seen = false;
    const { item } = this;
    try {
      const response = await this.#post(item, "alive", {});
      const stillDue = !response.ok || (await response.json()).open;
      if (!stillDue && this.item === item && !item.over) this.onStale();
    } catch {
      this.seen = true; // told at the next beat
    }
  }

  /** The page goes away: what was not sent yet goes with it. */
  #flush() {
    const { item } = this;
    if (!item?.entry || item.over) return;
    const body = { change: item.change, entry: item.entry };
    this.#post(item, "draft", body, { keepalive: true }).catch(() => {});
  }
}
