import type { ChargedAccounts } from "../../../src/access/accounts.ts";
import { DAY_SECONDS } from "../../../src/lib/clock.ts";

/** The limits of the accounts in a model. */
export interface ModelLimits {
  /** The budget of the day. */
  day: number;
  shares: { network: number; subject: number };
  maxOpen: number;
  perMinute: number;
  blocks: number;
}

interface ModelEntry {
  amount: number;
  state: "open" | "settled" | "released" | "void";
  at: number;
}

type Outcome = "reserved" | "closed" | "exceeded" | "blocked" | "frequent" | "busy" | "held";

/** The longest lifetime of a token, which is assumed without an expiry. */
const LONGEST_LIFE_SECONDS = 365 * DAY_SECONDS;

const RETENTION_SECONDS = 31 * DAY_SECONDS;

/** The limits of one account. Absent: unlimited. */
interface Limits {
  budget: number;
  /** When its token expires, if that is known. */
  expires?: number | undefined;
  maxOpen?: number;
  perMinute?: number;
  blocks?: number;
}

/** One account, as the documents describe it: a list of reservations, without any sum. */
export class ModelAccount {
  readonly entries = new Map<string, ModelEntry>();
  blocks = 0;
  /** The time until which what it has spent counts, if it is that of a token. */
  keptUntil = 0;
  readonly #limits: Limits;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get budget(): number {
    return this.#limits.budget;
  }

  /** Returns the spent and reserved amount, without one reservation. */
  sum(withoutId = ""): number {
    return this.#sumOf((entry, id) => id !== withoutId && entry.state !== "released");
  }

  reserve(id: string, amount: number, now: number): Outcome {
    const { budget, maxOpen = Infinity, perMinute = Infinity, blocks = Infinity } = this.#limits;
    const known = this.entries.get(id);
    if (known !== undefined && known.state !== "open") return "closed";
    if (known !== undefined && amount <= known.amount) return "reserved";
    const fits = this.sum(id) + amount <= budget;
    const settled = this.#sumOf((entry) => entry.state === "settled");
    if (!fits && settled + amount > budget) return "exceeded";
    if (known === undefined) {
      const begun = [...this.entries.values()].filter(
        ({ state, at }) => state !== "void" && at > now - 60,
      );
      const open = [...this.entries.values()].filter(({ state }) => state === "open");
      if (this.blocks >= blocks) return "blocked";
      if (begun.length >= perMinute) return "frequent";
      if (open.length >= maxOpen) return "busy";
    }
    if (!fits) return "held";
    this.entries.set(id, { amount, state: "open", at: known?.at ?? now });
    const { expires = now + LONGEST_LIFE_SECONDS } = this.#limits;
    this.keptUntil = Math.max(this.keptUntil, Math.max(now, expires) + RETENTION_SECONDS);
    return "reserved";
  }

  /** Closes a reservation. Returns true if it was in one of the states. */
  close(
    id: string,
    state: ModelEntry["state"],
    amount: number,
    from: readonly ModelEntry["state"][] = ["open"],
  ): boolean {
    const entry = this.entries.get(id);
    if (entry === undefined || !from.includes(entry.state)) return false;
    this.entries.set(id, { ...entry, state, amount });
    return true;
  }

  #sumOf(counts: (entry: ModelEntry, id: string) => boolean): number {
    return [...this.entries]
      .filter(([id, entry]) => counts(entry, id))
      .reduce((sum, [, { amount }]) => sum + amount, 0);
  }
}

/** How a failure names the rejection of an account. */
const REASONS: Partial<Record<Outcome, string>> = {
  exceeded: "budget_exceeded",
  blocked: "blocks",
  frequent: "generations",
  busy: "concurrency",
  held: "reserved",
  closed: "closed",
};

/** The accounts of a gateway and of its callers. */
export class ModelGateway {
  readonly everybody: ModelAccount;
  readonly accounts = new Map<string, ModelAccount>();
  /** The most tokens that an image has had. */
  learned = 0;
  /** The uncertain charges, by id, with the names of their accounts. */
  readonly uncertain = new Map<string, string[]>();
  readonly #limits: ModelLimits;

  constructor(limits: ModelLimits) {
    this.#limits = limits;
    this.everybody = new ModelAccount({ budget: limits.day });
    this.accounts.set("everybody", this.everybody);
  }

  /** Reserves in all accounts or in none. Returns the reserved amount, or why there is none. */
  reserve(
    caller: ChargedAccounts,
    id: string,
    amount: number,
    bound: { tokens: number; microPerToken: number } | undefined,
    now: number,
  ): number | string {
    const names = this.namesOf(caller);
    const growth =
      bound === undefined
        ? 0
        : Math.ceil(Math.max(0, this.learned - bound.tokens) * bound.microPerToken);
    const amounts = names.map((name) => (name === "everybody" ? amount + growth : amount));
    let outcomes = names.map((name, index) =>
      this.account(name).reserve(id, amounts[index] ?? 0, now),
    );
    const reserved = new Set(names.filter((_, index) => outcomes[index] === "reserved"));
    if (growth > 0 && reserved.size === names.length) {
      outcomes = names.map((name) => this.account(name).reserve(id, amount + growth, now));
    }
    const rejected = outcomes.find((outcome) => outcome !== "reserved");
    if (rejected === undefined) return amount + growth;
    for (const name of reserved) this.account(name).close(id, "void", 0);
    return (outcomes.includes("closed") ? REASONS.closed : REASONS[rejected]) ?? rejected;
  }

  settle(
    caller: ChargedAccounts,
    id: string,
    amount: number,
    tokens: number,
    isUncertain: boolean,
  ) {
    const names = this.namesOf(caller);
    const closed = names.filter((name) => this.account(name).close(id, "settled", amount));
    if (!closed.includes("everybody")) return;
    this.learned = Math.max(this.learned, tokens);
    if (isUncertain) this.uncertain.set(id, names);
  }

  release(caller: ChargedAccounts, id: string, isBlock: boolean, now: number): void {
    for (const name of this.namesOf(caller)) {
      const account = this.account(name);
      if (account.close(id, "released", 0))
        account.blocks += isBlock && name.startsWith("caller/") ? 1 : 0;
      else if (!account.entries.has(id))
        account.entries.set(id, { amount: 0, state: "void", at: now });
    }
  }

  /** Releases the uncertain charges. Returns their number. */
  releaseUncertain(): number {
    const count = this.uncertain.size;
    for (const [id, names] of this.uncertain) {
      for (const name of names) this.account(name).close(id, "released", 0, ["open", "settled"]);
    }
    this.uncertain.clear();
    return count;
  }

  account(name: string): ModelAccount {
    const known = this.accounts.get(name);
    if (known !== undefined) return known;
    const created = new ModelAccount(this.#limitsOf(name));
    this.accounts.set(name, created);
    return created;
  }

  /** Returns the names of the accounts of a caller, in the order in which their rejections are reported. */
  namesOf({ account, token }: ChargedAccounts): string[] {
    const ofToken =
      token === undefined ? [] : [`token/${token.jti} ${token.budget} ${token.exp ?? "unknown"}`];
    return [`caller/${account}`, ...ofToken, "everybody"];
  }

  #limitsOf(name: string): Limits {
    if (name.startsWith("token/")) {
      const [, budget, exp] = name.split(" ");
      return { budget: Number(budget), expires: exp === "unknown" ? undefined : Number(exp) };
    }
    const { day, shares, maxOpen, perMinute, blocks } = this.#limits;
    const limits = { maxOpen, perMinute, blocks };
    if (name === "caller/webhook") return { ...limits, budget: day };
    const isNetwork = name.startsWith("caller/network/");
    return { ...limits, budget: isNetwork ? shares.network : shares.subject };
  }
}
