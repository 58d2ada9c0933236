import { readdirSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Depot, openDepot } from '../../../src/depot/depot.ts';
import { importEntry } from '../../../src/depot/ingest.ts';
import { openInventory } from '../../../src/depot/inventory.ts';
import { probeArchive, readArchive } from '../../../src/depot/readers/archive-reader.ts';
import { openUnpackBudget } from '../../../src/depot/unpack-budget.ts';
import { type ArchiveType, DEFAULT_ARCHIVE_LIMITS } from '../../../src/domain/archive-entry.ts';
import { AppError } from '../../../src/domain/errors.ts';
import { git } from '../fixtures.ts';
import { UNGUARDED } from '../unguarded.ts';
import { makeCorpus, type Seed } from './corpus.ts';
import { mutate } from './mutate.ts';
import { openRandom } from './random.ts';

/**
 * Run by fuzz.test.ts as a process of its own, so that even a reader that never comes back can be ended.
 * Writes a line `<number>` before each input, and at the end one of JSON.
 */
const [seed = 1, from = 0, count = 100, storedEvery = 50] = process.argv.slice(2).map(Number);

/** What an input may come to. Everything else is a finding. */
const REFUSALS: readonly string[] = [
  'archive_broken',
  'archive_unsafe',
  'archive_too_large',
  'archive_wrong_type',
];
const LIMITS = { ...DEFAULT_ARCHIVE_LIMITS, maxEntries: 10_000, maxUnpackedBytes: 32 * 1024 ** 2 };
const APPLICATION = 'fuzzed';

const directory = await mkdtemp(join(tmpdir(), 'muster-fuzz-'));
const outcomes: Record<string, number> = {};
const findings: { input: number; archive: string; what: string }[] = [];
let slowestMs = 0;

try {
  const depot = await openDepot({ directory: join(directory, 'depot'), guard: UNGUARDED });
  await depot.createRepository(APPLICATION);
  const corpus = await makeCorpus();
  const openFiles = countOpenFiles();
  for (let input = from; input < from + count; input += 1) {
    process.stdout.write(`${input}\n`);
    await tryInput(depot, corpus, input);
  }
  const left = countOpenFiles() - openFiles;
  if (left > 2)
    findings.push({ input: from + count, archive: 'all', what: `${left} files are left open` });
  const sound = await git(['fsck', '--strict', '--no-dangling'], repository());
  if (sound !== '')
    findings.push({ input: from + count, archive: 'all', what: `git fsck: ${sound}` });
} finally {
  await rm(directory, { recursive: true, force: true });
}
const maxRssMiB = Math.round(process.resourceUsage().maxRSS / 1024);
process.stdout.write(`${JSON.stringify({ outcomes, findings, slowestMs, maxRssMiB })}\n`);

async function tryInput(depot: Depot, corpus: readonly Seed[], input: number): Promise<void> {
  const random = openRandom(seed, input);
  const archive = random.pick(corpus);
  // Now and then the archive as it is, so that it is known that it can be read at all.
  const isValid = input % 100 < corpus.length;
  const original = isValid ? (corpus[input % 100] ?? archive) : archive;
  const bytes = isValid
    ? original.pack(original.bytes)
    : archive.pack(mutate(archive.bytes, random, random.pick(corpus).bytes));
  const path = join(directory, 'input');
  await writeFile(path, bytes);
  const begun = performance.now();
  const isStored = input % storedEvery === storedEvery - 1;
  const { fileType } = original;
  const outcome = await outcomeOf(
    isStored ? store(depot, path, fileType, input) : read(path, fileType),
  );
  slowestMs = Math.max(slowestMs, Math.round(performance.now() - begun));
  const kind = `${fileType} ${outcome}`;
  outcomes[kind] = (outcomes[kind] ?? 0) + 1;
  const isExpected =
    outcome === 'read' || outcome === 'stored' || (!isValid && REFUSALS.includes(outcome));
  if (!isExpected) findings.push({ input, archive: original.name, what: outcome });
}

async function outcomeOf(work: Promise<string>): Promise<string> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof AppError && error.code !== 'internal') return error.code;
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

/** All that storing does, but for git: this is a hundred times as fast. */
async function read(path: string, fileType: ArchiveType): Promise<string> {
  const archiveBytes = await probeArchive(path, fileType);
  const budget = openUnpackBudget({ archiveBytes, limits: LIMITS });
  const inventory = openInventory();
  const target = {
    async addFile(o: { sizeBytes: number; content: AsyncIterable<Buffer> | Iterable<Buffer> }) {
      let missing = o.sizeBytes;
      for await (const chunk of o.content) missing -= chunk.length;
      if (missing !== 0) throw new Error(`${missing} bytes of a file are missing`);
    },
    copyFile: () => Promise.resolve(),
  };
  for await (const entry of readArchive({ path, fileType, budget })) {
    budget.spendEntry();
    await importEntry(entry, { target, inventory, budget });
  }
  inventory.emptyFolders(100);
  inventory.caseCollisions(100);
  return 'read';
}

async function store(
  depot: Depot,
  archivePath: string,
  fileType: ArchiveType,
  input: number,
): Promise<string> {
  const before = await contents();
  const buildId = `build-${input}`;
  try {
    const { tree, files } = await depot.ingestBuild({
      applicationId: APPLICATION,
      buildId,
      archivePath,
      fileType,
      limits: LIMITS,
    });
    let listed = 0;
    for await (const _file of depot.listFiles(APPLICATION, tree)) listed += 1;
    if (listed !== files) return `${listed} files are stored, but ${files} were counted`;
    return 'stored';
  } catch (error) {
    if ((await contents()) !== before) return 'something is left in the depot';
    throw error;
  }
}

async function contents(): Promise<string> {
  const temporary = await readdir(join(directory, 'depot', '.tmp'));
  const packs = await readdir(join(repository(), 'objects', 'pack'));
  const refs = await git(['for-each-ref'], repository());
  return JSON.stringify([temporary, packs.sort(), refs]);
}

function repository(): string {
  return join(directory, 'depot', `${APPLICATION}.git`);
}

function countOpenFiles(): number {
  return readdirSync('/proc/self/fd').length;
}
