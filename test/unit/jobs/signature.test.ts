import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { signWebhook, verifyWebhook, type WebhookHeaders } from "../../../src/jobs/signature.ts";
import { webhookSecret } from "../../support/webhooks/secret.ts";
import { failureOf } from "../../support/failures.ts";

const OLD = webhookSecret("old");
const NEW = webhookSecret("new");
const BODY = '{"prompt":"a man walks"}';

/** Returns the headers of a webhook that the reference library signed. */
function signed(secret: string, { secondsAgo = 0, body = BODY, id = "msg_1" } = {}) {
  const timestamp = new Date(Date.now() - secondsAgo * 1000);
  return {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(timestamp.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, timestamp, body),
  };
}

function verify(headers: Partial<WebhookHeaders>, secrets = [NEW], body = BODY) {
  return verifyWebhook((name) => headers[name], body, secrets);
}

function problemOf(...args: Parameters<typeof verify>) {
  const failure = failureOf(() => verify(...args));
  return failure.code === "invalid_webhook_signature" ? failure.problem : expect.fail(failure.code);
}

describe("verifyWebhook", () => {
  it("returns the id of a signed webhook", () => {
    expect(verify(signed(NEW))).toBe("msg_1");
  });

  it("accepts a signature of any configured secret, also among other signatures", () => {
    expect(verify(signed(OLD), [NEW, OLD])).toBe("msg_1");
    const headers = signed(NEW);
    const otherSignatures = `v1a,${"A".repeat(86)} v1,${"A".repeat(43)}=`;
    const both = {
      ...headers,
      "webhook-signature": `${otherSignatures} ${headers["webhook-signature"]}`,
    };
    expect(verify(both)).toBe("msg_1");
  });

  it.each([-299, 0, 299])("accepts a webhook that is %i seconds old", (secondsAgo) => {
    expect(verify(signed(NEW, { secondsAgo }))).toBe("msg_1");
  });

  it.each([-302, 302, 86_400])("rejects a webhook that is %i seconds old", (secondsAgo) => {
    expect(problemOf(signed(NEW, { secondsAgo }))).toBe("timestamp");
  });

  it.each(["", "soon", "12 monkeys", "-1", "1e3", "NaN"])(
    "rejects the timestamp %j",
    (timestamp) => {
      expect(problemOf({ ...signed(NEW), "webhook-timestamp": timestamp })).toBe("timestamp");
    },
  );

  it.each(["webhook-id", "webhook-timestamp", "webhook-signature"] as const)(
    "requires the header %s",
    (name) => {
      const { [name]: _, ...rest } = signed(NEW);
      expect(problemOf(rest)).toBe("missing");
    },
  );

  it.each([
    ["another body", {}, `${BODY} `],
    ["another id", { "webhook-id": "msg_2" }, BODY],
    ["no signature", { "webhook-signature": "" }, BODY],
    [
      "a signature of another version",
      { "webhook-signature": signed(NEW)["webhook-signature"].replace("v1", "v2") },
      BODY,
    ],
    [
      "half a signature",
      { "webhook-signature": signed(NEW)["webhook-signature"].slice(0, 20) },
      BODY,
    ],
    ["a signature without its value", { "webhook-signature": "v1" }, BODY],
    ["100 signatures", { "webhook-signature": `v1,${"A".repeat(44)} `.repeat(100) }, BODY],
    ["an id of 256 characters", { "webhook-id": "a".repeat(256) }, BODY],
  ])("rejects a webhook with %s", (_, changes, body) => {
    expect(problemOf({ ...signed(NEW), ...changes }, [NEW], body)).toBe("mismatch");
  });

  it("rejects a signature of another secret", () => {
    expect(problemOf(signed(OLD))).toBe("mismatch");
  });
});

describe("signWebhook", () => {
  it.each([NEW, OLD])(
    "signs with each secret, so that a receiver needs only one of them (secret %#)",
    (secret) => {
      const headers = signWebhook("evt_1", BODY, Date.now(), [NEW, OLD]);
      expect(new Webhook(secret).verify(BODY, { ...headers })).toEqual(JSON.parse(BODY));
    },
  );

  it("sends the timestamp in whole seconds", () => {
    const headers = signWebhook("evt_1", BODY, 1_795_579_918_999, [NEW]);
    expect(headers["webhook-timestamp"]).toBe("1795579918");
  });
});
