import { build, generatedClient } from './build.mjs';
import { dependencies } from './dependencies.mjs';
import { ensureNodeAndGit } from './requirements.mjs';
import { inTurn } from './turn.mjs';

const STEPS = [dependencies, generatedClient, build];

/** From a fresh clone, or after any change, to a program that can be started. Writes nothing if nothing has changed. */
export async function prepare() {
  ensureNodeAndGit();
  if (STEPS.every((step) => step.isDone())) {
    return;
  }
  await inTurn(async () => {
    for (const step of STEPS) {
      if (!step.isDone()) {
        await step.run();
      }
    }
  });
}
