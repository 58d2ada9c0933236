import { cmdRun } from './cmd.ts';
import type { StateDefinition } from './state.ts';

/** Every state function that prepull and postpull may name. A new module is a file and its lines here. */
export const STATE_FUNCTIONS: ReadonlyMap<string, StateDefinition> = new Map([['cmd.run', cmdRun]]);
