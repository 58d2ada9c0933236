import { prepare } from './bootstrap/prepare.mjs';
import { runMain } from './bootstrap/run.mjs';

await runMain(prepare);
