// Refreshes the page: fetches it again and changes only what differs, so that focus and open details stay.
"use strict";
const EVERY_MS = 2500, QUIET_MS = 5000, LONGEST_MS = 30000, PATIENCE_MS = 10000;
const by = (id) => document.getElementById(id);
let paused = false, timer = 0, wait = EVERY_MS, tag = "";

function attributes(was, now) {
  for (const { name } of [...was.attributes])
    if (!now.hasAttribute(name) && name !== "open") was.removeAttribute(name);
  for (const { name, value } of now.attributes)
    if (was.getAttribute(name) !== value && name !== "open") was.setAttribute(name, value);
}

function renew(was, now) {
  if (was.isEqualNode(now)) return;
  if (was.nodeName !== now.nodeName || !was.attributes) return was.replaceWith(now);
  attributes(was, now);
  const known = new Map([...was.children].filter((each) => each.id).map((each) => [each.id, each]));
  const wanted = new Set([...now.children].map((each) => each.id));
  for (const each of [...was.children]) if (each.id && !wanted.has(each.id)) each.remove();
  let at = was.firstChild;
  for (const next of [...now.childNodes]) {
    const same = next.id ? known.get(next.id) : at && !at.id && at.nodeName === next.nodeName ? at : null;
    if (!same) { was.insertBefore(next, at); continue; }
    while (at !== same && at?.nodeType === Node.TEXT_NODE) { const text = at; at = at.nextSibling; text.remove(); }
    if (same === at) at = at.nextSibling; else was.insertBefore(same, at);
    renew(same, next);
  }
  while (at) { const last = at; at = at.nextSibling; last.remove(); }
}

const flying = () => new Set([...document.querySelectorAll("progress")].map((each) => each.closest("[data-says]").id));
const style = (page) => page.querySelector("[rel=stylesheet]").getAttribute("href");
function say(state) { by("connection").textContent = state; by("live").dataset.state = state; }
async function look() {
  try {
    const signal = AbortSignal.timeout?.(PATIENCE_MS);  // also while the answer arrives
    const answer = await fetch(location.href, { cache: "no-store", signal, headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.redirected) return location.reload();  // signed out
    if (answer.status !== 304 && !answer.ok) throw new Error(answer.status);
    const text = await answer.text();
    if (paused) return;
    if (answer.ok) {
      const now = new DOMParser().parseFromString(text, "text/html"), before = flying();
      if (style(now) !== style(document)) return location.reload();  // another version
      tag = answer.headers.get("ETag");
      renew(by("main"), now.getElementById("main"));
      document.title = now.title;
      const after = flying(), ended = [...before].filter((id) => !after.has(id) && by(id));
      if (ended.length) by("news").textContent = ended.map((id) => by(id).dataset.says).join("; ");
    }
    say("live"); wait = flying().size ? EVERY_MS : QUIET_MS;
  } catch {
    if (paused) return;
    say("no connection"); wait = Math.min(2 * wait, LONGEST_MS);
  }
  next();
}

function next() { clearTimeout(timer); if (!paused && !document.hidden) timer = setTimeout(look, wait); }

by("pause").addEventListener("click", () => {
  paused = !paused; by("pause").setAttribute("aria-pressed", paused); say(paused ? "paused" : "live"); next();
});
document.addEventListener("visibilitychange", () => { clearTimeout(timer); if (!document.hidden && !paused) look(); });
by("live").hidden = false; next();
document.addEventListener("pointerover", ({ target }) => {  // the text has UTC
  if (target.dateTime) target.title = new Date(target.dateTime).toLocaleString();
});
addEventListener("beforeprint", () => document.querySelectorAll(".error").forEach((each) => { each.open = true; }));
