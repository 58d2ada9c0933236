import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes more than a minute, the longest first. In a fresh clone nobody knows how long tests took the last time. */
const LONG = [
  'test/e2e/crash-distributed.test.ts',
  'test/e2e/main-path.test.ts',
  'test/jobs/catch-up.test.ts',
  'test/e2e/crash-embedded.test.ts',
  'test/e2e/demo.test.ts',
  'test/e2e/large-upload.test.ts',
];

/** Begins with the longest test files: one that begins last is waited for alone. */
export class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = LONG.findIndex((name) => moduleId.endsWith(name));
      return place < 0 ? LONG.length : place;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
