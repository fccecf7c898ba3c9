/** A delivery that the receiver recorded. */
export interface Received {
  headers: Record<string, string>;
  body: string;
}

/** A URL at the receiver that no other test uses. */
export interface Hook {
  url: string;
  /** Returns the deliveries to it so far, oldest first. */
  received(): Promise<Received[]>;
}

/**
 * Returns a new URL at the receiver.
 *
 * @param origin of the receiver
 * @param plan how the receiver treats each delivery; see `receiver.ts`
 */
export function hookAt(origin: string, plan = "200"): Hook {
  const name = crypto.randomUUID();
  return {
    url: `${origin}/${name}/${plan}`,
    async received() {
      const response = await fetch(`${origin}/${name}`);
      return response.json();
    },
  };
}

/** The event in the body of a delivery. */
export interface ReceivedEvent {
  id: string;
  object: string;
  created_at: number;
  type: string;
  data: Record<string, unknown>;
}

/** Returns the event in a delivery. */
export function eventIn(received: Received | undefined): ReceivedEvent {
  return JSON.parse(received?.body ?? "null");
}
