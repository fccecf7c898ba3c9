import { KNOWN_MODELS, baseModelId, knownModel, rulesOf, type ModelRules } from "./models.ts";

/** A model that this gateway serves: its rules, and the name that the upstream knows it by. */
export interface ServedModel {
  id: string;
  upstreamId: string;
  /** True if `MODEL_ALIASES` sets `upstreamId`. Nothing else replaces an alias. */
  isAlias: boolean;
  rules: ModelRules;
}

/** The served models by the id that clients use, in the order in which they are listed. */
export type Catalog = ReadonlyMap<string, ServedModel>;

/**
 * Returns the catalog of a gateway. Aliases are served under their own names. Their rules are those of the
 * model that the upstream is sent, or else of the model that they are named after.
 *
 * A known default is served even if `ids` does not list it: an upgrade that changes the preset default
 * must not stop a gateway.
 *
 * @param options.ids the ids to serve; all known models if empty
 * @param options.aliases the upstream's id of a model by its id here
 */
export function servedModels({
  ids,
  aliases,
  defaultModel,
}: {
  ids: readonly string[];
  aliases: ReadonlyMap<string, string>;
  defaultModel: string;
}): Catalog {
  const listed = ids.length > 0 ? ids : KNOWN_MODELS.map((model) => model.id);
  const served = (id: string): ServedModel => {
    const alias = aliases.get(id);
    const upstreamId = alias ?? id;
    const rules = rulesOf({ model: id, upstreamModel: upstreamId });
    return { id, upstreamId, isAlias: alias !== undefined, rules };
  };
  const names = new Set([...listed, ...aliases.keys()]);
  const models = new Map([...names].map((id) => [id, served(id)]));
  if (knownModel(defaultModel) !== undefined) {
    models.set(defaultModel, servedModel({ models }, defaultModel) ?? served(defaultModel));
  }
  return models;
}

/**
 * Returns true if a request may be sent as a model or under its name. A model that the table knows always
 * may: an upgrade must not make a configuration invalid.
 */
export function isServed(catalog: { models: Catalog }, id: string): boolean {
  return (
    servedModel(catalog, id) !== undefined ||
    knownModel(id) !== undefined ||
    [...catalog.models.values()].some(({ upstreamId }) => upstreamId === id)
  );
}

/**
 * Returns the ids that the upstream knows some models by. Aliases of one model share its cache key, so what
 * is sent may depend on these ids only.
 */
export function upstreamIds(
  catalog: { models: Catalog },
  ids: ReadonlySet<string>,
): ReadonlySet<string> {
  return new Set([...ids].map((id) => servedModel(catalog, id)?.upstreamId ?? id));
}

/** Returns the served model of an id, or of the dated snapshot of one; `undefined` if none is served. */
export function servedModel({ models }: { models: Catalog }, id: string): ServedModel | undefined {
  const listed = models.get(id);
  if (listed !== undefined) return listed;
  const base = models.get(baseModelId(id));
  if (base === undefined) return undefined;
  const aliased = base.upstreamId !== base.id;
  return { ...base, id, upstreamId: aliased ? base.upstreamId : id };
}
