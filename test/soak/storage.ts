import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { MicroDollars } from "../../src/contract/pricing.ts";
import type { StoredKey } from "./gateway-process.ts";

/** The classes whose objects clean up after themselves, with their bindings. */
export const SELF_CLEANING = {
  GENERATION: "Generation",
  IDEMPOTENCY: "IdempotencyKey",
  JOBS: "Jobs",
} as const;

/** All classes of objects, with their bindings. */
export const CLASSES = {
  ...SELF_CLEANING,
  BUDGET: "Budget",
  REVOCATIONS: "Revocations",
} as const;

const OBJECT_FILE = /^([0-9a-f]{64})\.sqlite$/;

/** Returns the ids of the objects of a class that have a file. */
export function objectsOf(directory: string, className: string): string[] {
  return filesIn(folderOf(directory, className)).flatMap(
    (name) => OBJECT_FILE.exec(name)?.[1] ?? [],
  );
}

/** Returns the objects of a class that have rows, with their tables. The gateway must be stopped. */
export function objectsWithRows(
  directory: string,
  className: string,
): { id: string; tables: string[] }[] {
  return objectsOf(directory, className).flatMap((id) => {
    const tables = reading(directory, className, id, (database) =>
      tablesOf(database).filter((table) => rowsOf(database, `SELECT 1 FROM "${table}"`).length > 0),
    );
    return tables.length === 0 ? [] : [{ id, tables }];
  });
}

/** A reservation that was never settled or released. */
export interface OpenReservation {
  /** The id of its generation. */
  id: string;
  amount: MicroDollars;
  /** Unix seconds. */
  at: number;
}

/** The reservations and sums of the accounts. */
export interface Ledgers {
  /** Reservations that are open in the account of the whole gateway. */
  openForAll: OpenReservation[];
  /** Reservations that are open in any account, by the id of their generation. */
  open: Map<string, OpenReservation>;
  /** The sum of all days, reservations included. */
  total: MicroDollars;
  /** The sum of all rows of usage. */
  spent: MicroDollars;
}

/** Reads every account of the budget. The gateway must be stopped. */
export function ledgersIn(directory: string): Ledgers {
  const ledgers: Ledgers = { openForAll: [], open: new Map(), total: 0, spent: 0 };
  for (const id of objectsOf(directory, "Budget")) {
    reading(directory, "Budget", id, (database) => {
      if (!tablesOf(database).includes("entry")) return;
      const open = rowsOf(database, "SELECT id, amount, at FROM entry WHERE state = 'open'").map(
        ({ id: generation, amount, at }) => ({
          id: String(generation),
          amount: Number(amount),
          at: Number(at),
        }),
      );
      for (const each of open) ledgers.open.set(each.id, each);
      // Only the account of the whole gateway has usage and money. The objects that count hits have no money.
      if (!tablesOf(database).includes("usage")) return;
      const [usage] = rowsOf(database, "SELECT COUNT(*) AS rows, SUM(spent) AS spent FROM usage");
      if (Number(usage?.["rows"]) === 0) return;
      ledgers.openForAll.push(...open);
      ledgers.spent += Number(usage?.["spent"]);
      const [total] = rowsOf(database, "SELECT SUM(amount) AS amount FROM total");
      ledgers.total += Number(total?.["amount"]);
    });
  }
  return ledgers;
}

/** Returns the inconsistencies of the keys of KV: each image needs its record, and each record its images. */
export function problemsOfKeys(keys: readonly StoredKey[], moderationBlocks: number): string[] {
  const problems: string[] = [];
  const names = new Set(keys.map((key) => key.name));
  const generations = new Map(
    keys.filter((key) => key.name.startsWith("generation/")).map((key) => [key.id, key]),
  );
  let storedBlocks = 0;
  for (const { name, id, images = 0 } of keys) {
    const [kind, rest = "", index = ""] = name.split("/");
    if (kind === "refusal") storedBlocks += 1;
    else if (kind === "image") {
      const isLess = Number(index) < (generations.get(rest)?.images ?? 0);
      if (!isLess) problems.push(`an image without a record: ${name}`);
    } else if (kind === "generation") {
      if (id !== rest) problems.push(`a record of another generation: ${name}`);
      for (let each = 0; each < images; each += 1) {
        const image = `image/${rest}/${each}`;
        if (!names.has(image)) problems.push(`a record without its image: ${image}`);
      }
    } else if (kind === "request") {
      const requestKey = generations.get(id)?.requestKey;
      if (requestKey !== rest) problems.push(`a request key without its generation: ${name}`);
    } else problems.push(`an unknown key: ${name}`);
  }
  if (storedBlocks > moderationBlocks)
    problems.push(`${storedBlocks} moderation blocks, not ${moderationBlocks}`);
  return problems;
}

/** Returns the size of all files under a directory, in bytes. */
export function bytesIn(directory: string): number {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(
      (entry) => statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0,
    )
    .reduce((sum, size) => sum + size, 0);
}

function folderOf(directory: string, className: string): string {
  return join(directory, "do", `darkroom-${className}`);
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    // No object of the class was ever used.
    return [];
  }
}

function reading<Result>(
  directory: string,
  className: string,
  id: string,
  read: (database: DatabaseSync) => Result,
): Result {
  const database = new DatabaseSync(join(folderOf(directory, className), `${id}.sqlite`));
  try {
    return read(database);
  } finally {
    database.close();
  }
}

/** Returns the tables that hold data of the Worker. The platform stores an alarm in another table. */
function tablesOf(database: DatabaseSync): string[] {
  return rowsOf(database, "SELECT name FROM sqlite_master WHERE type = 'table'")
    .map(({ name }) => String(name))
    .filter((name) => name === "_cf_KV" || !/^(?:_cf_|sqlite_)/.test(name));
}

function rowsOf(database: DatabaseSync, query: string): Record<string, unknown>[] {
  return database.prepare(query).all();
}
