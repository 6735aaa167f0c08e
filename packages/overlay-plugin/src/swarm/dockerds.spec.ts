import { isAnother, namesIn } from "./dockerds.ts";

it("a dockerd is known by the socket that it listens at, as the kernel lists it", () => {
  // As Linux 6.1 and dockerd 28.5.2 have it; the header and other sockets are no dockerd's.
  const text = [
    "Num       RefCount Protocol Flags    Type St Inode Path",
    "0000000000000000: 00000002 00000000 00010000 0001 01 35571 /run/docker/libnetwork/6d2f8a41c07b.sock",
    "0000000000000000: 00000003 00000000 00000000 0001 03 35580 /run/docker/libnetwork/6d2f8a41c07b.sock.old",
    "0000000000000000: 00000002 00000000 00010000 0001 01 30514 /var/run/docker.sock",
    "0000000000000000: 00000002 00000000 00010000 0001 01 30519 @/containerd-shim/moby/6d2f8a41c07b.sock",
    "0000000000000000: 00000003 00000000 00000000 0001 03 35599",
    "0000000000000000: 00000002 00000000 00010000 0001 01 40001 /srv/second/exec/libnetwork/0123456789ab.sock",
    "",
  ];
  expect(namesIn(text.join("\n"))).toEqual(["6d2f8a41c07b", "0123456789ab"]);
});

it.each([
  ["the same one", ["a"], ["a"], false],
  ["another one", ["a"], ["b"], true],
  ["none", ["a"], [], false],
  ["one of two that may have asked", ["a", "b"], ["b", "c"], false],
  ["anyone, where nobody could tell who asked", [], ["a"], false],
  ["anyone, for a network of before that was asked", undefined, ["a"], false],
])("now there is %s", (_, asker, now, expected) => {
  expect(isAnother(asker, now)).toBe(expected);
});
