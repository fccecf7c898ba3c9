import { listDurableObjectIds, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import type { ChargedAccounts } from "../../../src/access/accounts.ts";
import type { Budget } from "../../../src/access/budget.ts";
import { Ledger } from "../../../src/access/ledger.ts";
import { Tables } from "../../../src/access/tables.ts";
import { bindings } from "./harness.ts";

/** The name of the account of all callers. */
export const EVERYBODY = "everybody";

/** Returns the caller of a token with a subject. */
export function subject(name: string): ChargedAccounts {
  return { caller: name, account: `subject/${name}`, token: undefined };
}

/** Returns an anonymous caller at an address. */
export function network(address: string): ChargedAccounts {
  return { caller: "public", account: `network/${address}`, token: undefined };
}

/** The sender of signed webhooks. */
export const WEBHOOK: ChargedAccounts = {
  caller: "webhook",
  account: "webhook",
  token: undefined,
};

/** Returns a namespace whose accounts have names of their own, apart from those of other prefixes. */
export function accountsApart(prefix: string): DurableObjectNamespace<Budget> {
  const accounts = bindings().BUDGET;
  return {
    idFromName: (name: string) => accounts.idFromName(`${prefix} ${name}`),
    idFromString: (id: string) => accounts.idFromString(id),
    get: (id: DurableObjectId) => accounts.get(id),
  } as unknown as DurableObjectNamespace<Budget>;
}

/** Returns an account. */
export function accountNamed(name: string): DurableObjectStub<Budget> {
  const accounts = bindings().BUDGET;
  return accounts.get(accounts.idFromName(name));
}

/** Returns a caller's own account. */
export function accountOfCaller({ account }: ChargedAccounts): DurableObjectStub<Budget> {
  return accountNamed(`caller/${account}`);
}

/** Calls a function with the tables of an account. */
export function withTables<Result>(
  account: DurableObjectStub<Budget>,
  use: (tables: Tables) => Result,
): Promise<Result> {
  return runInDurableObject(account, (_, state) => use(new Tables(state.storage.sql)));
}

/** Calls a function with the ledger of an account by its name. */
export function withLedger<Result>(name: string, use: (ledger: Ledger) => Result): Promise<Result> {
  return withLedgerOf(accountNamed(name), use);
}

/** Calls a function with the ledger of an account. */
export function withLedgerOf<Result>(
  account: DurableObjectStub<Budget>,
  use: (ledger: Ledger) => Result,
): Promise<Result> {
  return withTables(account, (tables) => use(new Ledger(tables)));
}

/** Returns the id and the state of each reservation of an account. */
export function statesOf(account: DurableObjectStub<Budget>): Promise<Record<string, string>> {
  return withTables(account, (tables) =>
    Object.fromEntries(
      tables
        .rows<{ id: string; state: string }>("entry", "SELECT id, state FROM entry ORDER BY id")
        .map(({ id, state }) => [id, state]),
    ),
  );
}

/** Runs the alarms of all accounts once, whenever they are set for. */
export async function runAccountAlarms(): Promise<void> {
  const accounts = bindings().BUDGET;
  for (const id of await listDurableObjectIds(accounts)) await runAlarm(accounts.get(id));
}

/** Runs the alarm of an account now, whenever it is set for. */
export async function runAlarm(account: DurableObjectStub<Budget>): Promise<void> {
  await runDurableObjectAlarm(account);
}
