// The page: what is chosen, the requests to the API, and what is shown. It loads nothing from any other host.

import { Combobox } from "./combobox.js";
import { chip, column, element, metrics, nameOf, option, problem, shortName, similarList } from "./view.js";

const at = (id) => document.getElementById(id);
const chosen = { items: [], user: "", k: 10, novelty: 0, why: true, compare: false };
let about = null;
let running = null;

async function ask(name, parameters = [], signal = undefined) {
  const answer = await fetch(`api/${name}?${new URLSearchParams(parameters)}`, { signal });
  const content = await answer.json().catch(() => ({ error: `status ${answer.status}` }));
  if (!answer.ok) throw new Error(content.error);
  return content;
}

function say(text) {
  at("status").textContent = text;
}

// What is chosen stands in the address too, so that it survives a reload and can be kept.
function remember() {
  const words = new URLSearchParams(chosen.items.map((item) => ["item", item.id]));
  for (const name of ["k", "novelty", "user"]) if (chosen[name]) words.set(name, chosen[name]);
  words.set("why", Number(chosen.why));
  words.set("compare", Number(chosen.compare));
  history.replaceState(null, "", `#${words}`);
}

async function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  const within = (name, low, high, otherwise) => {
    const value = Number(words.get(name) ?? NaN);
    return value >= low && value <= high ? value : otherwise;
  };
  chosen.k = Math.round(within("k", 1, 50, 10));
  chosen.novelty = within("novelty", 0, 1, 0);
  chosen.why = words.get("why") !== "0";
  chosen.compare = about.models.length > 1 && words.get("compare") !== "0";
  chosen.user = about.users ? words.get("user") ?? "" : "";
  const ids = words.getAll("item").slice(0, about.limits.history);
  chosen.items = await ask("items", ids.map((id) => ["item", id])).then((answer) => answer.items, () => []);
}

function showChosen() {
  at("liked").replaceChildren(...chosen.items.map((item) => chip(item, () => remove(item))));
  at("start").hidden = chosen.items.length > 0;
  at("clear").hidden = chosen.items.length < 2;
  at("count").value = chosen.k;
  at("novelty").value = chosen.novelty;
  at("count-shown").value = chosen.k;
  at("novelty-shown").value = chosen.novelty ? Number(chosen.novelty).toFixed(2) : "off";
  at("why").checked = chosen.why;
  at("compare").checked = chosen.compare;
}

function add(item) {
  if (chosen.items.length >= about.limits.history) return say(`At most ${about.limits.history} items are taken`);
  if (!chosen.items.some((other) => other.id === item.id)) chosen.items.push(item);
  say(`${nameOf(item)} added`);
  changed();
}

function remove(item) {
  chosen.items = chosen.items.filter((other) => other.id !== item.id);
  changed();
  at("search").focus();
}

function changed() {
  showChosen();
  remember();
  void recommend();
}

function question(number) {
  const words = chosen.items.map((item) => ["item", item.id]);
  if (chosen.user) words.push(["user", chosen.user]);
  const k = Math.min(chosen.k, about.models[number].largest_k);
  return [["model", number], ...words, ["k", k], ["novelty", chosen.novelty], ["why", Number(chosen.why)]];
}

async function recommend() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const numbers = chosen.compare ? [0, 1] : [0];
  const results = at("results");
  results.setAttribute("aria-busy", "true");
  try {
    const answers = await Promise.all(numbers.map((number) => ask("recommend", question(number), signal)));
    const ranks = answers.map((answer) => new Map(answer.items.map((item) => [item.id, item.rank])));
    results.replaceChildren(...answers.map((answer, place) => column(about.models[numbers[place]], answer, {
      other: chosen.compare ? { name: about.models[numbers[1 - place]].name, ranks: ranks[1 - place] } : null,
      similar: (item) => showSimilar(numbers[place], item),
      add,
      card: () => showCard(numbers[place]),
    })));
    results.classList.toggle("two", chosen.compare);
    say(`${answers[0].items.length} recommendations`);
  } catch (error) {
    if (error.name === "AbortError") return;
    results.replaceChildren(problem(error.message));
  } finally {
    if (!signal.aborted) results.removeAttribute("aria-busy");
  }
}

function openDialog(title, ...content) {
  at("dialog-title").textContent = title;
  at("dialog-body").replaceChildren(...content);
  if (!at("dialog").open) at("dialog").showModal();
}

async function showSimilar(number, item) {
  if (!about.models[number].similar) return openDialog(nameOf(item), problem("This model does not tell similar items."));
  try {
    const answer = await ask("similar", [["model", number], ["item", item.id]]);
    const like = element("button", { type: "button", className: "primary" }, "I like this one too");
    like.addEventListener("click", () => { at("dialog").close(); add(item); });
    openDialog(`Similar to ${nameOf(item)}`, similarList(answer, (other) => { at("dialog").close(); add(other); }), like);
  } catch (error) {
    openDialog(nameOf(item), problem(error.message));
  }
}

function showCard(number) {
  const model = about.models[number];
  if (!model.card) return openDialog("About the model", ...metrics(model));
  const frame = element("iframe", { title: `Model card of ${model.name}`, src: `card/${number}`, className: "card-frame" });
  frame.setAttribute("sandbox", "");
  openDialog("About the model", frame);
}

async function loadUser(event) {
  event.preventDefault();
  const user = at("user").value.trim();
  if (!user) return;
  try {
    const found = await ask("history", [["user", user]]);
    chosen.items = found.items;
    chosen.user = user;
    at("user-note").textContent = found.items.length < found.all
      ? `The latest ${found.items.length} of ${found.all} items` : `${found.all} items`;
    changed();
  } catch (error) {
    at("user-note").textContent = error.message;
  }
}

// Run `action` when a range has not moved for a moment; show its value at once.
function whileMoving(range, name, read) {
  let timer = 0;
  range.addEventListener("input", () => {
    chosen[name] = read(range.value);
    showChosen();
    clearTimeout(timer);
    timer = setTimeout(changed, 150);
  });
}

function wire() {
  new Combobox(at("search"), at("options"), {
    find: (text, signal) => ask("complete", [["text", text]], signal).then((answer) => answer.items),
    show: option,
    choose: add,
  });
  at("search").addEventListener("keydown", (event) => {
    const last = chosen.items[chosen.items.length - 1];
    if (event.key === "Backspace" && !event.target.value && last) remove(last);
  });
  whileMoving(at("count"), "k", Number);
  whileMoving(at("novelty"), "novelty", Number);
  at("why").addEventListener("change", (event) => { chosen.why = event.target.checked; changed(); });
  at("compare").addEventListener("change", (event) => { chosen.compare = event.target.checked; changed(); });
  at("clear").addEventListener("click", () => { chosen.items = []; chosen.user = ""; changed(); at("search").focus(); });
  at("user-form").addEventListener("submit", loadUser);
  at("dialog-close").addEventListener("click", () => at("dialog").close());
  at("dialog").addEventListener("click", (event) => { if (event.target === at("dialog")) at("dialog").close(); });
}

async function start() {
  try {
    about = await ask("models");
  } catch (error) {
    return at("results").replaceChildren(problem(error.message));
  }
  const names = about.models.map((model) => model.name).join(" and ");
  at("about").textContent = about.models.length > 1 ? `Two models: ${names}` : `Model ${names}`;
  at("compare-label").hidden = about.models.length < 2;
  at("user-form").hidden = !about.users;
  at("popular").replaceChildren(...about.popular.map((item) => {
    const button = element("button", { type: "button", className: "pill", title: nameOf(item) }, shortName(item));
    button.addEventListener("click", () => { add(item); at("search").focus(); });
    return button;
  }));
  wire();
  await recall();
  at("user").value = chosen.user;
  changed();
}

await start();
