/** A fault that a prompt asks the simulator for, and the error that documentation promises for it. */
export interface Fault {
  /** Directives of the prompt; `test/support/upstream/README.md` explains them. */
  directives: string;
  /** The code of the error; absent if the gateway hides the fault from its client. */
  code?: string;
  status?: number;
  /** True if the error carries `x-should-retry: false`. */
  isFinal?: boolean;
  /** True if the next request is generated well. */
  recovers: boolean;
}

const GONE = { recovers: true } as const;

const invalid = (directives: string): Fault => ({
  directives: `${directives} times=1`,
  code: "upstream_invalid_response",
  status: 502,
  isFinal: true,
  ...GONE,
});

/** No fault, in several forms of a good response. */
export const WELL: readonly [Fault, ...Fault[]] = [
  { directives: "", ...GONE },
  { directives: "delay=200", ...GONE },
  { directives: "delay=900", ...GONE },
  { directives: "slice=30000", ...GONE },
  { directives: "bytes=2500000", ...GONE },
  { directives: "dialect=url", ...GONE },
  { directives: "dialect=url image=flaky", ...GONE },
  { directives: "dialect=chat-markdown", ...GONE },
  { directives: "answer=escaped", ...GONE },
];

/** Faults that the gateway hides by another attempt. */
const HIDDEN: readonly Fault[] = [
  { directives: "status=429 retry-after=0 times=1", ...GONE },
  { directives: "status=429 times=1", ...GONE },
  { directives: "status=500 times=1", ...GONE },
  { directives: "status=502 error=html times=1", ...GONE },
  { directives: "status=503 error=text times=2", ...GONE },
];

/** Faults that the client gets as an error. */
const SHOWN: readonly Fault[] = [
  { directives: "status=503 times=3", code: "upstream_failed", status: 502, ...GONE },
  {
    directives: "status=429 retry-after=3600 times=1",
    code: "upstream_rate_limited",
    status: 429,
    ...GONE,
  },
  { directives: "status=400 times=1", code: "some_code", status: 400, ...GONE },
  { directives: "status=401 times=1", code: "upstream_unauthorized", status: 502, ...GONE },
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
    ...GONE,
  },
  {
    directives: "reset=before times=1",
    code: "upstream_unreachable",
    status: 502,
    isFinal: true,
    ...GONE,
  },
  invalid("reset=body"),
  invalid("reset=chunked-body"),
  invalid("answer=truncated"),
  invalid("answer=no-images"),
  invalid("answer=html"),
  invalid("answer=bad-base64"),
  invalid("answer=html-as-png"),
];

/** Longer than the upstream may take. */
const TIMEOUT: Fault = {
  directives: "delay=15000 times=1",
  code: "upstream_timeout",
  status: 504,
  isFinal: true,
  ...GONE,
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
    // Node sends the headers with the first event: here the connection is cut before them.
    directives: "gap=100 partials=0 then=cut times=1",
    code: "upstream_unreachable",
    status: 502,
    isFinal: true,
    ...GONE,
  },
  {
    directives: "gap=100 partials=1 then=error times=1",
    code: "upstream_failed",
    status: 502,
    isFinal: true,
    ...GONE,
  },
];
