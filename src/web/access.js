import { control, element } from "./form.js";

/**
 * @typedef {object} Health The part of `GET /health` that concerns access and budget.
 * @property {"public" | "token"} access
 * @property {string | null} turnstile_site_key
 * @property {{ usd_per_day: number, usd_left: number }} budget
 */

/**
 * @typedef {object} Turnstile The global object that Cloudflare's script defines.
 * @property {(container: HTMLElement, options: TurnstileOptions) => string} render
 * @property {(widget: string) => void} reset
 */

/**
 * @typedef {object} TurnstileOptions
 * @property {string} sitekey
 * @property {string} action
 * @property {(token: string) => void} callback
 */

const STORAGE_KEY = "darkroom.token";
const TURNSTILE_SCRIPT = "https://challenges.cloudflare.com/turnstile/v0/api.js?render=explicit";

const section = element("access");
const field = control("token", HTMLInputElement);

/** Returns the token of this tab. Session storage deletes it when the tab is closed. */
export function readToken() {
  return sessionStorage.getItem(STORAGE_KEY) ?? undefined;
}

/** @returns {Record<string, string>} */
export function authorization() {
  const token = readToken();
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** @returns {Promise<Health>} */
export async function readHealth() {
  return (await fetch("/health")).json();
}

/** @param {Health} health */
export function showBudget({ budget: { usd_per_day, usd_left } }) {
  const left = Math.max(0, usd_left).toFixed(2);
  element("budget").textContent = `$${left} of $${usd_per_day.toFixed(2)} left today.`;
}

/**
 * Shows the token form if the gateway requires a token and this tab has none.
 *
 * @param {Health} health
 */
export async function requestToken({ access, turnstile_site_key: siteKey }) {
  section.hidden = access === "public" || readToken() !== undefined;
  if (section.hidden) return;
  field.focus();
  if (siteKey === null) return;
  await showWidget(siteKey);
}

/** Deletes a rejected token and shows the token form. @param {Health} health */
export async function replaceToken(health) {
  sessionStorage.removeItem(STORAGE_KEY);
  await requestToken(health);
}

control("access-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const token = field.value.trim();
  if (token !== "") storeToken(token);
});

/** @param {string} token */
function storeToken(token) {
  sessionStorage.setItem(STORAGE_KEY, token);
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
 * Exchanges a Turnstile token for an access token that is valid for a few minutes.
 *
 * @param {string} turnstileToken
 */
async function exchange(turnstileToken) {
  const response = await fetch("/v1/tokens", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ turnstile_token: turnstileToken }),
  });
  const body = await response.json();
  if (response.ok) storeToken(body.token);
  else element("error-token").textContent = body.error.message;
}

/** @returns {Promise<Turnstile>} */
function loadTurnstile() {
  const loaded = Reflect.get(globalThis, "turnstile");
  if (loaded !== undefined) return Promise.resolve(loaded);
  const script = document.createElement("script");
  script.src = TURNSTILE_SCRIPT;
  return new Promise((resolve, reject) => {
    script.addEventListener("load", () => resolve(Reflect.get(globalThis, "turnstile")));
    script.addEventListener("error", () => reject(new Error("Cannot load the Turnstile widget.")));
    document.head.append(script);
  });
}
