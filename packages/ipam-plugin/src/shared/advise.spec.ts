import { StoreAway } from "@portolan/state";
import { advise } from "./advise.ts";

it.each([
  [
    false,
    "is away: silence. Addresses in blocks that this host has are still given; try again when the store is back.",
  ],
  [true, "refuses this host: silence. Addresses in blocks that this host has are still given; see --store-user and"],
])("says what still works and what to do when the store is away or refuses (%j)", (refuses, message) => {
  expect(() => advise(new StoreAway("etcd://a:2379", new Error("silence"), refuses))).toThrow(message);
});

it("leaves other errors as they are", () => {
  const error = new RangeError("something else");
  expect(() => advise(error)).toThrow(error);
});
