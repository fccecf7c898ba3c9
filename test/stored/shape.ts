import { decode, type Scene } from "./fixture.ts";

/** The number of occurrences of a field, and its types. */
interface Field {
  count: number;
  types: Set<string>;
}

/** The fields of everything that is stored, by their path. */
type Shape = Map<string, Field>;

/** Ids and hashes, which differ between values of the same kind. */
const NAMES =
  /\b[a-z]+_[\w-]{32,}|\b[0-9a-f]{64}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g;

/** Returns the shape of everything that scenes have stored. */
export function shapeOf(scenes: readonly Scene[]): Shape {
  const shape: Shape = new Map();
  for (const { kv, objects } of scenes) {
    for (const { binding, key, value, metadata, expiresInSeconds } of kv) {
      const path = `${binding} ${key.replaceAll(NAMES, "*").replace(/\d+$/, "*")}`;
      add(shape, path, { value: decode(value), metadata: decode(metadata), expiresInSeconds });
    }
    for (const { binding, className, name, tables, entries } of objects) {
      const path = `${binding} ${className}`;
      if (name !== null) add(shape, `${path} named ${name.replaceAll(NAMES, "*")}`, {});
      for (const [key, value] of Object.entries(entries)) {
        add(shape, `${path} ${key.replaceAll(NAMES, "*")}`, decode(value));
      }
      for (const { name, rows } of tables) {
        for (const row of rows) {
          // The fields of a row depend on its state.
          const state = typeof row["state"] === "string" ? ` ${row["state"]}` : "";
          add(shape, `${path} ${name}${state}`, decode(row));
        }
      }
    }
  }
  return shape;
}

/** Adds a value and everything in it, including JSON in strings. */
function add(shape: Shape, path: string, value: unknown): void {
  const field = shape.get(path) ?? { count: 0, types: new Set() };
  shape.set(path, field);
  field.count += 1;
  const parsed = typeof value === "string" ? parsedJson(value) : value;
  field.types.add(typeOf(parsed));
  if (Array.isArray(parsed)) {
    for (const item of parsed) add(shape, `${path}[]`, item);
  } else if (typeOf(parsed) === "object") {
    for (const [name, each] of Object.entries(Object(parsed))) add(shape, `${path}.${name}`, each);
  }
}

function parsedJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" ? value : text;
  } catch {
    return text;
  }
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return value instanceof Uint8Array ? "bytes" : typeof value;
}

/**
 * Returns why a version that writes one shape cannot read another: a field that it always writes is
 * missing, sometimes missing, or has a type that it never writes. More fields are no problem.
 */
export function problemsFor(reader: Shape, written: Shape): string[] {
  const problems: string[] = [];
  for (const [path, { count, types }] of reader) {
    const field = written.get(path);
    if (field === undefined) {
      // A missing parent is reported once, without its fields.
      const parent = parentOf(path);
      if (parent === undefined || written.has(parent)) problems.push(`${path} is missing`);
      continue;
    }
    const isAlways = count === reader.get(parentOf(path) ?? "")?.count;
    const isStillAlways = field.count === written.get(parentOf(path) ?? "")?.count;
    if (isAlways && !isStillAlways) problems.push(`${path} is sometimes missing`);
    const others = [...field.types].filter((type) => !types.has(type));
    if (others.length > 0) problems.push(`${path} is ${others.join(" or ")}`);
  }
  return problems;
}

/** Returns the path of the object or array that a field is in. */
function parentOf(path: string): string | undefined {
  return /^(.*)(?:\.[^.[\]]+|\[\])$/.exec(path)?.[1];
}
