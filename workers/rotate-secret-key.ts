import { loadSettings, runToExit } from '../src/process.ts';
import { runKeyRotation } from '../src/rotate-secret-key.ts';

// The command `npm run rotate-secret-key`.
await runToExit('the secret key was not rotated', async () => {
  process.stdout.write(`${await runKeyRotation(loadSettings())}\n`);
});
