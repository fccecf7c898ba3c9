import { control, element } from "./form.js";

/**
 * @typedef {object} Terms What `GET /health` says of who may have pictures made, and for how much.
 * @property {"public" | "token"} access
 * @property {string | null} turnstile_site_key
 * @property {{ usd_per_day: number, usd_left: number }} budget
 */

/**
 * @typedef {object} Turnstile Cloudflare's widget, as its own script defines it.
 * @property {(container: HTMLElement, options: TurnstileOptions) => string} render
 * @property {(widget: string) => void} reset
 */

/**
 * @typedef {object} TurnstileOptions
 * @property {string} sitekey
 * @property {string} action
 * @property {(token: string) => void} callback
 */

const KEY = "darkroom.token";
const TURNSTILE_SCRIPT = "https://challenges.cloudflare.com/turnstile/v0/api.js?render=explicit";

const section = element("access");
const field = control("token", HTMLInputElement);

/** The token of this tab: it is gone when the tab is. */
export function readToken() {
  return sessionStorage.getItem(KEY) ?? undefined;
}

/** @returns {Record<string, string>} */
export function authorization() {
  const token = readToken();
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** @returns {Promise<Terms>} */
export async function readTerms() {
  return (await fetch("/health")).json();
}

/** @param {Terms} terms */
export function showBudget({ budget: { usd_per_day, usd_left } }) {
  const left = Math.max(0, usd_left).toFixed(2);
  element("budget").textContent = `$${left} of today's $${usd_per_day.toFixed(2)} are left.`;
}

/**
 * Asks for a token where the gateway wants one and this tab has none.
 *
 * @param {Terms} terms
 */
export async function askForToken({ access, turnstile_site_key: siteKey }) {
  section.hidden = access === "public" || readToken() !== undefined;
  if (section.hidden) return;
  field.focus();
  if (siteKey === null) return;
  await showWidget(siteKey);
}

/** Forgets a token that is not good, and asks again. @param {Terms} terms */
export async function askAgain(terms) {
  sessionStorage.removeItem(KEY);
  await askForToken(terms);
}

control("access-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const token = field.value.trim();
  if (token !== "") keep(token);
});

/** @param {string} token */
function keep(token) {
  sessionStorage.setItem(KEY, token);
  field.value = "";
  section.hidden = true;
  element("prompt").focus();
}

/** @type {string | undefined} */
let widget;

/** @param {string} siteKey */
async function showWidget(siteKey) {
  const turnstile = await loadTurnstile();
  if (widget !== undefined) {
    turnstile.reset(widget);
    return;
  }
  widget = turnstile.render(element("widget"), {
    sitekey: siteKey,
    action: "token",
    callback: (token) => void exchange(token),
  });
}

/**
 * A widget's token becomes one for a few minutes.
 *
 * @param {string} turnstileToken
 */
async function exchange(turnstileToken) {
  const response = await fetch("/v1/tokens", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ turnstile_token: turnstileToken }),
  });
  const answer = await response.json();
  if (response.ok) keep(answer.token);
  else element("error-token").textContent = answer.error.message;
}

/** @returns {Promise<Turnstile>} */
function loadTurnstile() {
  const known = Reflect.get(globalThis, "turnstile");
  if (known !== undefined) return Promise.resolve(known);
  const script = document.createElement("script");
  script.src = TURNSTILE_SCRIPT;
  return new Promise((resolve, reject) => {
    script.addEventListener("load", () => resolve(Reflect.get(globalThis, "turnstile")));
    script.addEventListener("error", () => reject(new Error("The widget cannot be loaded.")));
    document.head.append(script);
  });
}
