import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';

/** Stands between a program and PostgreSQL, and counts the rows of every result on its way. */
export interface RowTap {
  /** By which the program reaches the database. */
  readonly databaseUrl: string;
  /** Called with the number of rows of each result before its end is passed on. */
  onResult: (rows: number) => void;
  close(): Promise<void>;
}

/** Messages of PostgreSQL's protocol: a letter, four bytes of length that count themselves, and the body. */
const HEADER_BYTES = 5;
const DATA_ROW = 'D'.charCodeAt(0);
const COMMAND_COMPLETE = 'C'.charCodeAt(0);

/** The caller closes it, after the program's connections. */
export async function startRowTap(databaseUrl: string): Promise<RowTap> {
  const url = new URL(databaseUrl);
  const target = { host: url.hostname, port: Number(url.port) };
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target);
    for (const socket of [client, upstream]) {
      sockets.add(socket.on('error', () => undefined));
      socket.on('close', () => sockets.delete(socket));
    }
    client.pipe(upstream);
    upstream.pipe(countRows((rows) => tap.onResult(rows))).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as AddressInfo; // it listens on TCP
  url.hostname = '127.0.0.1';
  url.port = String(address.port);
  const tap: RowTap = {
    databaseUrl: url.href,
    onResult: () => undefined,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return tap;
}

/** Passes on what the server says, message by message. */
function countRows(onResult: (rows: number) => void): Transform {
  let pending: Buffer = Buffer.alloc(0);
  let rows = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      let start = 0;
      while (pending.length - start >= HEADER_BYTES) {
        const end = start + 1 + pending.readInt32BE(start + 1);
        if (end > pending.length) break;
        if (pending[start] === DATA_ROW) rows += 1;
        if (pending[start] === COMMAND_COMPLETE) {
          onResult(rows);
          rows = 0;
        }
        start = end;
      }
      this.push(Buffer.from(pending.subarray(0, start)));
      pending = Buffer.from(pending.subarray(start));
      done();
    },
  });
}
