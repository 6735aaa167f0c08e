// Published ports of SCTP with real associations, on kernels that have the protocol.
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { remoteHost, runServer } from "../lab/ports.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

/** Perl is in every Debian and takes a protocol by its number; neither the image nor Node has SCTP. */
const perl = (program: string, ...values: string[]) => [
  "perl",
  "-MSocket",
  "-e",
  `$SIG{ALRM} = sub { exit 2 }; ${program}`,
  ...values,
];

/** Tells each client who serves and who asked. */
const server = (name: string, port: string) =>
  perl(
    `my ($name, $port) = @ARGV;
    socket(my $s, PF_INET, SOCK_STREAM, 132) or die "socket: $!";
    bind($s, sockaddr_in($port, INADDR_ANY)) or die "bind: $!";
    listen($s, 9) or die "listen: $!";
    $| = 1; print "listens\\n";
    while (my $peer = accept(my $c, $s)) {
      my (undef, $address) = sockaddr_in($peer);
      sysread($c, my $asked, 99);
      syswrite($c, "$name has $asked of " . inet_ntoa($address));
      close($c);
    }`,
    name,
    port,
  );

const client = (address: string, port: string, seconds: number) =>
  perl(
    `my ($address, $port, $seconds) = @ARGV;
    alarm $seconds;
    socket(my $s, PF_INET, SOCK_STREAM, 132) or die "socket: $!";
    connect($s, sockaddr_in($port, inet_aton($address))) or die "connect: $!";
    syswrite($s, "ahoy");
    sysread($s, my $answer, 99);
    print $answer;`,
    address,
    port,
    `${seconds}`,
  );

/** Starts an SCTP server in a container's network. */
async function serve(host: Host, name: string): Promise<void> {
  const service = await host.start(`sctp-${name}`, [...(await host.inNetworkOf(name)), ...server(name, "70")]);
  await eventually(`${name} serves`, async () => (await service.lastWords()).includes("listens"));
}

/** What the server behind the address answers to whoever runs `words`. */
async function answer(from: Host, address: string, words: readonly string[] = []): Promise<string> {
  return (await from.exec([...words, ...client(address, "7070", 10)])).stdout;
}

onEveryEngine(
  "published ports of SCTP",
  ({ row, engine }) => {
    row("lead everybody to the container, and are free again when it goes", async (host) => {
      await using remote = await remoteHost(host, engine);
      const { ipv4 } = host.address;
      for (const name of ["hansa", "levant"]) await host.docker("network", "create", "-d", driver, name);
      await runServer(host, "lubeck", "--network", "hansa", "-p", "7070:70/sctp");
      await runServer(host, "acre", "--network", "levant");
      await serve(host, "lubeck");
      expect(await answer(remote, ipv4)).toBe(`lubeck has ahoy of ${remote.address.ipv4}`);
      expect(await answer(host, ipv4)).toMatch(/^lubeck has ahoy of /);
      expect(await answer(host, ipv4, await host.inNetworkOf("acre"))).toMatch(/^lubeck has ahoy of /);

      const second = [
        "run",
        "-d",
        "--name",
        "bergen",
        "--network",
        "levant",
        "-p",
        "7070:70/sctp",
        image,
        "sleep",
        "60",
      ];
      expect((await host.tryDocker(...second)).stderr).toContain(
        "Bind for 0.0.0.0:7070 failed: port is already allocated",
      );
      await host.docker("rm", "-f", "bergen", "lubeck");

      const program = await host.start("program", server("program", "7070"));
      await eventually("the program listens", async () => (await program.lastWords()).includes("listens"));
      expect(await answer(remote, ipv4)).toMatch(/^program has ahoy/);
      expect((await host.tryDocker(...second)).stderr).toContain(
        "failed to bind host port 0.0.0.0:7070/sctp: address already in use",
      );
      await program.stop("SIGKILL");
    });
  },
  { needs: { modules: ["sctp"] } },
);
