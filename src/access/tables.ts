/** Excludes the tables of the platform and of SQLite itself. */
const OWN_TABLES = `
  SELECT name, sql FROM sqlite_master
    WHERE type = 'table' AND name NOT LIKE '!_cf!_%' ESCAPE '!' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'`;

/** Bounds one deletion, during which a Durable Object answers no call. */
const MAX_DELETED = 2000;

/**
 * The tables of a Durable Object. Each is created with its first row, so that an object that is only read, such
 * as an account that rejects every reservation, stores nothing.
 */
export class Tables {
  readonly #sql: SqlStorage;
  /** The `CREATE` statement of each table that exists; `undefined` until it is read. */
  #created: Map<string, string> | undefined;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
  }

  /** Returns true if a table exists. */
  has(name: string): boolean {
    return this.#statements().has(name);
  }

  /** Creates a table, with its indexes, unless it exists. */
  create(name: string, statements: string): void {
    if (!this.has(name)) this.#change(statements);
  }

  /** Adds a column to a table that an earlier version created without it; nothing without the table. */
  addColumn(name: string, column: string, type: string): void {
    const statement = this.#statements().get(name);
    if (statement === undefined || statement.includes(column)) return;
    this.#change(`ALTER TABLE ${name} ADD COLUMN ${column} ${type}`);
  }

  /** Creates an index on a table that an earlier version created without it; nothing without the table. */
  addIndex(name: string, index: string, column: string): void {
    if (this.has(name))
      this.#sql.exec(`CREATE INDEX IF NOT EXISTS ${index} ON ${name} (${column})`);
  }

  /** Returns the rows of a query on a table; none if the table does not exist. */
  rows<Row extends Record<string, SqlStorageValue>>(
    name: string,
    query: string,
    ...bindings: SqlStorageValue[]
  ): Row[] {
    return this.has(name) ? this.#sql.exec<Row>(query, ...bindings).toArray() : [];
  }

  /** Changes the rows of a table, if it exists. Returns the number of written rows, those of indexes included. */
  write(name: string, statement: string, ...bindings: SqlStorageValue[]): number {
    return this.has(name) ? this.#sql.exec(statement, ...bindings).rowsWritten : 0;
  }

  /**
   * Deletes rows of a table, if it exists: a bounded number.
   *
   * @param condition must be one that an index or the start of the primary key answers
   * @returns true if there may be more
   */
  deleteRows(name: string, condition: string, ...bindings: SqlStorageValue[]): boolean {
    const statement = `DELETE FROM ${name} WHERE rowid IN
      (SELECT rowid FROM ${name} WHERE ${condition} LIMIT ${MAX_DELETED})`;
    // Each deleted row is at least one written row.
    return this.write(name, statement, ...bindings) >= MAX_DELETED;
  }

  /** Returns true if no table has a row. */
  areEmpty(): boolean {
    return [...this.#statements().keys()].every(
      (name) => this.rows(name, `SELECT 1 FROM "${name}" LIMIT 1`).length === 0,
    );
  }

  /** Starts over after all data was deleted. */
  reset(): void {
    this.#created = undefined;
  }

  #change(statements: string): void {
    this.#sql.exec(statements);
    this.#created = undefined;
  }

  #statements(): Map<string, string> {
    this.#created ??= new Map(
      this.#sql
        .exec<{ name: string; sql: string }>(OWN_TABLES)
        .toArray()
        .map(({ name, sql }) => [name, sql]),
    );
    return this.#created;
  }
}
