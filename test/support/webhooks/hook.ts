/** A delivery as it came. */
export interface Received {
  headers: Record<string, string>;
  body: string;
}

/** An address of its own at the receiver. */
export interface Hook {
  url: string;
  /** What came there so far. */
  received(): Promise<Received[]>;
}

/**
 * A new address at the receiver.
 *
 * @param origin of the receiver
 * @param plan what is to be done with the deliveries; see `receiver.ts`
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

/** What a receiver reads of an event. */
export interface ReceivedEvent {
  id: string;
  object: string;
  created_at: number;
  type: string;
  data: Record<string, unknown>;
}

/** The event in a delivery. */
export function eventIn(received: Received | undefined): ReceivedEvent {
  return JSON.parse(received?.body ?? "null");
}
