// Makes the elements of the page. Text from the data set is always set as text, never as HTML.

// element("li", { className: "item", onclick }, child, "text", ...): attributes with a dash are set as attributes.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const nameOf = (item) => item.title || `Item ${item.id}`;

// A title with its year, if it ends with one, in a lighter colour.
export function titled(item) {
  const found = /^(.+?)\s*\((\d{4}(?:[-–]\d{0,4})?)\)$/.exec(item.title);
  return found ? [found[1], element("span", { className: "year" }, ` ${found[2]}`)] : [nameOf(item)];
}

// A title without its year and without other titles in parentheses, for little room.
export const shortName = (item) => nameOf(item).replace(/\s*\([^()]*\)/g, "").replace(/, (the|a|an)$/i, "").trim() || nameOf(item);

const whole = new Intl.NumberFormat("en");
const signed = (value) => value.toFixed(Math.abs(value) < 0.1 ? 3 : 2);

export const users = (count) => `${whole.format(count)} ${count === 1 ? "user" : "users"}`;

export function chip(item, remove) {
  const button = element("button", { type: "button", className: "remove", "aria-label": `Remove ${nameOf(item)}` }, "×");
  button.addEventListener("click", remove);
  return element("li", { className: "chip" }, element("span", {}, ...titled(item)), button);
}

export function option(into, item) {
  into.append(
    element("span", { className: "option-title" }, ...titled(item)),
    element("span", { className: "option-users" }, users(item.users)),
  );
}

function reasons(found, strongest) {
  if (!found.length) return null;
  return element("ul", { className: "reasons", "aria-label": "Would score lower without" }, ...found.map((reason) => {
    const pill = element("li", { className: "reason", title: nameOf(reason) },
      element("span", { className: "because" }, shortName(reason)),
      element("span", { className: "by" }, `−${signed(reason.lower_by)}`));
    pill.style.setProperty("--share", `${Math.round(100 * reason.lower_by / strongest)}%`);
    return pill;
  }));
}

// Explains the reasons by the first one of the list.
function legend(answer) {
  const item = answer.items.find((other) => other.reasons.length);
  if (!item) return null;
  const [reason] = item.reasons;
  return element("p", { className: "hint legend" }, `Below an item: what it would score lower without. ${shortName(item)} would score ` +
    `${signed(reason.lower_by)} lower without ${shortName(reason)}.`);
}

function row(item, scale, answer, { other, similar, add }) {
  const title = element("button", { type: "button", className: "title", title: "Similar items" }, ...titled(item));
  title.addEventListener("click", () => similar(item));
  const plus = element("button", { type: "button", className: "icon add", "aria-label": `I like ${nameOf(item)} too` }, "+");
  plus.addEventListener("click", () => add(item));
  const score = answer.source === "model" ? `score ${signed(item.score)}` : null;
  const facts = element("p", { className: "facts" }, [score, users(item.users)].filter(Boolean).join(" · "));
  if (other && answer.source === "model") {
    const rank = other.ranks.get(item.id);
    facts.append(element("span", { className: rank ? "tag both" : "tag only" },
      rank ? `no. ${rank} in ${other.name}` : `not in ${other.name}`));
  }
  const bar = element("div", { className: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${Math.round(100 * scale.share(item.score))}%`);
  return element("li", { className: "item" },
    element("span", { className: "rank", "aria-hidden": "true" }, String(item.rank)),
    element("div", { className: "body" }, title, facts, bar, reasons(item.reasons, scale.strongest)), plus);
}

function scaleOf(items) {
  const scores = items.map((item) => item.score);
  const low = Math.min(0, ...scores), high = Math.max(...scores);
  const strongest = Math.max(1e-9, ...items.flatMap((item) => item.reasons.map((reason) => reason.lower_by)));
  return { strongest, share: (score) => (high > low ? (score - low) / (high - low) : 1) };
}

// The recommendations of one model. `other`: the name of the other model and its ranks (ids -> ranks), if two are shown.
export function column(about, answer, { other, similar, add, card }) {
  const head = element("div", { className: "column-head" }, element("h2", {}, other ? about.name : "For you"));
  const cardButton = element("button", { type: "button", className: "plain card" }, "About the model");
  cardButton.addEventListener("click", card);
  head.append(cardButton);
  const made = element("section", { className: "column", "aria-label": `Recommendations of ${about.name}` }, head);
  if (answer.source === "popular") {
    made.append(element("p", { className: "message" }, "Most popular items: nothing is known of you yet."));
  }
  for (const note of answer.notes) made.append(element("p", { className: "message" }, note));
  const scale = scaleOf(answer.items);
  made.append(legend(answer) ?? "", element("ol", { className: "items" },
    ...answer.items.map((item) => row(item, scale, answer, { other, similar, add }))));
  if (!answer.items.length) made.append(element("p", { className: "message" }, "No item is left to recommend."));
  made.append(element("p", { className: "took" }, `${about.family} · ${whole.format(about.items)} items · answered in ${answer.ms} ms`));
  return made;
}

export function similarList(answer, add) {
  return element("ol", { className: "items" }, ...answer.items.map((item) => {
    const plus = element("button", { type: "button", className: "icon add", "aria-label": `I like ${nameOf(item)} too` }, "+");
    plus.addEventListener("click", () => add(item));
    return element("li", { className: "item" },
      element("span", { className: "rank", "aria-hidden": "true" }, String(item.rank)),
      element("div", { className: "body" }, element("span", { className: "title" }, ...titled(item)),
        element("p", { className: "facts" }, `similarity ${signed(item.score)} · ${users(item.users)}`)), plus);
  }));
}

export function metrics(about) {
  const rows = Object.entries(about.metrics).filter(([, value]) => typeof value.mean === "number");
  const facts = element("p", {}, `${about.name}: ${[about.family, about.kind].filter(Boolean).join(" ")}, ` +
    `${whole.format(about.items)} items. This export has no model card.`);
  if (!rows.length) return [facts];
  const body = rows.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name),
    element("td", {}, value.mean.toFixed(4)),
    element("td", {}, typeof value.standard_error === "number" ? `± ${value.standard_error.toFixed(4)}` : "")));
  return [facts, element("table", {}, element("caption", {}, "On the test users of its training run"),
    element("thead", {}, element("tr", {}, ...["Metric", "Mean", "Standard error"].map((text) =>
      element("th", { scope: "col" }, text)))), element("tbody", {}, ...body))];
}

export const problem = (text) => element("p", { className: "message problem", role: "alert" }, text);
