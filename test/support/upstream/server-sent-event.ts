/** Returns an event in the format of OpenAI's streams: its name is the `type` in its data. */
export function serverSentEvent(type: string, fields: object): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
}
