/** A fault that a prompt requests from the simulator, and its documented error. */
export interface Fault {
  /** Directives of the prompt; `test/support/upstream/README.md` explains them. */
  directives: string;
  /** The code of the error; absent if the gateway hides the fault from its client. */
  code?: string;
  status?: number;
  /** True if the error carries `x-should-retry: false`. */
  isFinal?: boolean;
  /** True if the next request succeeds. */
  recovers: boolean;
}

const RECOVERS = { recovers: true } as const;

const invalid = (directives: string): Fault => ({
  directives: `${directives} times=1`,
  code: "upstream_invalid_response",
  status: 502,
  isFinal: true,
  ...RECOVERS,
});

/** Usable responses in several forms. */
export const NO_FAULT: readonly [Fault, ...Fault[]] = [
  { directives: "", ...RECOVERS },
  { directives: "delay=200", ...RECOVERS },
  { directives: "delay=900", ...RECOVERS },
  { directives: "slice=30000", ...RECOVERS },
  { directives: "bytes=2500000", ...RECOVERS },
  { directives: "dialect=url", ...RECOVERS },
  { directives: "dialect=url image=flaky", ...RECOVERS },
  { directives: "dialect=chat-markdown", ...RECOVERS },
  { directives: "answer=escaped", ...RECOVERS },
];

/** Faults that the gateway hides by a retry. */
const HIDDEN: readonly Fault[] = [
  { directives: "status=429 retry-after=0 times=1", ...RECOVERS },
  { directives: "status=429 times=1", ...RECOVERS },
  { directives: "status=500 times=1", ...RECOVERS },
  { directives: "status=502 error=html times=1", ...RECOVERS },
  { directives: "status=503 error=text times=2", ...RECOVERS },
];

/** Faults that the client receives as an error. */
const SHOWN: readonly Fault[] = [
  { directives: "status=503 times=3", code: "upstream_failed", status: 502, ...RECOVERS },
  {
    directives: "status=429 retry-after=3600 times=1",
    code: "upstream_rate_limited",
    status: 429,
    ...RECOVERS,
  },
  { directives: "status=400 times=1", code: "some_code", status: 400, ...RECOVERS },
  { directives: "status=401 times=1", code: "upstream_unauthorized", status: 502, ...RECOVERS },
  {
    directives: "status=400 code=moderation_blocked",
    code: "moderation_blocked",
    status: 400,
    recovers: false,
  },
  {
    directives: "status=504 times=1",
    code: "upstream_failed",
    status: 502,
    isFinal: true,
    ...RECOVERS,
  },
  {
    directives: "reset=before times=1",
    code: "upstream_unreachable",
    status: 502,
    isFinal: true,
    ...RECOVERS,
  },
  invalid("reset=body"),
  invalid("reset=chunked-body"),
  invalid("answer=truncated"),
  invalid("answer=no-images"),
  invalid("answer=html"),
  invalid("answer=bad-base64"),
  invalid("answer=html-as-png"),
];

/** Longer than the gateway's timeout for the upstream. */
const TIMEOUT: Fault = {
  directives: "delay=15000 times=1",
  code: "upstream_timeout",
  status: 504,
  isFinal: true,
  ...RECOVERS,
};

export const FAULTS: readonly [Fault, ...Fault[]] = [
  TIMEOUT,
  ...HIDDEN,
  ...HIDDEN,
  ...SHOWN,
  ...SHOWN,
];

/** Faults of a stream, after its first event. */
export const STREAM_FAULTS: readonly [Fault, ...Fault[]] = [
  invalid("gap=100 partials=1 then=cut"),
  {
    // Node sends the headers with the first event: so the connection is cut before them.
    directives: "gap=100 partials=0 then=cut times=1",
    code: "upstream_unreachable",
    status: 502,
    isFinal: true,
    ...RECOVERS,
  },
  {
    directives: "gap=100 partials=1 then=error times=1",
    code: "upstream_failed",
    status: 502,
    isFinal: true,
    ...RECOVERS,
  },
];
