// DNS over TCP: each message has its length before it (RFC 1035, section 4.2.2).

export class DnsStream {
  readonly #onMessage: (message: Buffer) => void;
  #pending: Buffer = Buffer.alloc(0);

  constructor(onMessage: (message: Buffer) => void) {
    this.#onMessage = onMessage;
  }

  take(bytes: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, bytes]);
    while (this.#pending.length >= 2) {
      const end = 2 + this.#pending.readUInt16BE(0);
      if (this.#pending.length < end) return;
      const message = this.#pending.subarray(2, end);
      this.#pending = this.#pending.subarray(end);
      this.#onMessage(message);
    }
  }
}

export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
