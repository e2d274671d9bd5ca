// Refreshes the page: fetches it again and changes only what differs, so that focus and open details stay.
"use strict";
const EVERY_MS = 2500, QUIET_MS = 5000, LONGEST_MS = 30000, PATIENCE_MS = 10000;
const CLOCK = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const by = (id) => document.getElementById(id);
let paused = false, timer = 0, wait = EVERY_MS, tag = "";

// The server writes UTC; people read their own time, and the title keeps UTC.
const own = (time, wanted) => CLOCK.formatToParts(new Date(time)).filter(({ type }) => (type === "timeZoneName") === wanted);
function localize(page) {
  for (const each of page.querySelectorAll("time"))
    each.textContent = own(each.dateTime, false).map(({ value }) => value).join("").replace(",", "").trim();
}

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
const pace = () => Math.max(1000 * (by("main").dataset.every || 0), flying().size ? EVERY_MS : QUIET_MS);
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
      localize(now);
      renew(by("main"), now.getElementById("main"));
      document.title = now.title;
      const after = flying(), ended = [...before].filter((id) => !after.has(id) && by(id));
      if (ended.length) by("news").textContent = ended.map((id) => by(id).dataset.says).join("; ");
    }
    say("live"); wait = pace();
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
by("live").hidden = false; localize(document); wait = pace(); next();
by("zone").textContent = `Times are yours (${own(Date.now(), true)[0].value}); point at one for UTC.`;
addEventListener("beforeprint", () => document.querySelectorAll(".error").forEach((each) => { each.open = true; }));
