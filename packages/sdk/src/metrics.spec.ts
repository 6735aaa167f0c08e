import { Metrics } from "./metrics.ts";

test("counts calls by verb and outcome, their duration and those in flight", async () => {
  const metrics = new Metrics();
  for (let index = 0; index < 3; index++) metrics.callBegan();
  metrics.callEnded("NetworkDriver.Join", "ok", 3);
  metrics.callEnded("NetworkDriver.Join", "deadline", 20_000);
  metrics.lockWaited(400);
  const text = await metrics.text();
  expect(text).toContain('portolan_calls_total{verb="NetworkDriver.Join",outcome="ok"} 1');
  expect(text).toContain('portolan_calls_total{verb="NetworkDriver.Join",outcome="deadline"} 1');
  expect(text).toContain("portolan_calls_in_flight 1");
  expect(text).toContain('portolan_call_duration_seconds_bucket{le="0.005",verb="NetworkDriver.Join"} 1');
  expect(text).toContain('portolan_call_duration_seconds_sum{verb="NetworkDriver.Join"} 20.003');
  expect(text).toContain('portolan_lock_wait_seconds_bucket{le="0.5"} 1');
  expect(text).toContain('portolan_lock_wait_seconds_bucket{le="0.25"} 0');
});

test("two plugins in one process do not share what they count", async () => {
  const [one, other] = [new Metrics(), new Metrics()];
  one.pendingDeletes.set(5);
  expect(await other.text()).toContain("portolan_pending_deletes 0");
});
