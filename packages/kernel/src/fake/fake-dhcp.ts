// A DHCP server and its clients in memory, for tests of drivers without root.
import type { Dhcp, DhcpClientPlace, DhcpKeeper, DhcpLease, DhcpNews, DhcpWish } from "../dhcp/dhcp.ts";
import { KernelError } from "../kernel-error.ts";

interface Kept {
  readonly place: DhcpClientPlace;
  readonly lease: DhcpLease;
  readonly wish: DhcpWish;
  /** As the real one would call it. */
  readonly tell: (news: DhcpNews) => void;
  state: "kept" | "released" | "stopped";
  renewals: number;
}

export class FakeDhcp implements Dhcp {
  /** What the server gives next; when there is none, it does not answer. */
  readonly offers: DhcpLease[] = [];
  /** What it was asked for so far. */
  readonly asked: { readonly link: string; readonly wish: DhcpWish }[] = [];
  /** All keepers so far, those that were told to stop included. */
  readonly keepers: Kept[] = [];

  acquire(link: string, wish: DhcpWish): Promise<DhcpLease> {
    this.asked.push({ link, wish });
    const lease = this.offers.shift();
    if (lease) return Promise.resolve(lease);
    const subject = { operation: "get a DHCP lease for", device: link };
    return Promise.reject(new KernelError({ ...subject, code: "ETIMEDOUT", detail: "no DHCP server answered" }));
  }

  keep(place: DhcpClientPlace, lease: DhcpLease, wish: DhcpWish, onNews: (news: DhcpNews) => void): DhcpKeeper {
    const kept: Kept = { place, lease, wish, tell: onNews, state: "kept", renewals: 0 };
    this.keepers.push(kept);
    const end = (state: Kept["state"]) => {
      kept.state = state;
      return Promise.resolve();
    };
    return {
      renew: () => (kept.renewals += 1),
      release: () => end("released"),
      stop: () => end("stopped"),
    };
  }
}
