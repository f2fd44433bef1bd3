// An editable combobox with a list box, by the pattern of the ARIA Authoring Practices Guide.
// The focus stays in the input; aria-activedescendant names the option that the arrow keys reached.

const WAIT_MS = 120;

export class Combobox {
  // find(text, signal) gives a promise of items; show(item) fills an option; choose(item) takes one.
  constructor(input, list, { find, show, choose }) {
    Object.assign(this, { input, list, find, show, choose, items: [], active: -1, timer: 0, asked: null });
    input.addEventListener("input", () => this.later());
    input.addEventListener("keydown", (event) => this.key(event));
    input.addEventListener("blur", () => this.close());
    input.addEventListener("focus", () => input.value.trim() && this.later());
    // The pointer must not take the focus from the input before the click arrives.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.take(Number(option.dataset.place));
    });
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), WAIT_MS);
  }

  async ask() {
    this.asked?.abort();
    this.asked = new AbortController();
    const text = this.input.value.trim();
    if (!text) return this.close();
    try {
      const items = await this.find(text, this.asked.signal);
      if (document.activeElement === this.input) this.open(items);
    } catch (error) {
      if (error.name !== "AbortError") this.close();
    }
  }

  open(items) {
    this.items = items;
    this.list.replaceChildren(...items.map((item, place) => {
      const option = document.createElement("li");
      option.id = `${this.list.id}-${place}`;
      option.role = "option";
      option.dataset.place = place;
      this.show(option, item);
      return option;
    }));
    if (!items.length) {
      const none = document.createElement("li");
      none.className = "none";
      none.textContent = "No item has this title";
      this.list.append(none);
    }
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.move(items.length ? 0 : -1);
  }

  close() {
    clearTimeout(this.timer);
    this.asked?.abort();
    this.list.hidden = true;
    this.items = [];
    this.input.setAttribute("aria-expanded", "false");
    this.move(-1);
  }

  move(place) {
    this.active = place;
    this.list.querySelectorAll("[role=option]").forEach((option, k) => {
      option.setAttribute("aria-selected", String(k === place));
      if (k === place) option.scrollIntoView({ block: "nearest" });
    });
    if (place < 0) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `${this.list.id}-${place}`);
  }

  take(place) {
    const item = this.items[place];
    this.input.value = "";
    this.close();
    if (item) this.choose(item);
  }

  key(event) {
    const last = this.items.length - 1;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) return void this.ask();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (last >= 0) this.move((this.active + step + last + 1) % (last + 1));
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.take(this.active);
    } else if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      this.close();
    } else if (event.key === "Escape") {
      this.input.value = "";
    }
  }
}
