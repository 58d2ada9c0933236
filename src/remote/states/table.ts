import { cmdRun } from './cmd.ts';
import { fileAbsent, fileDirectory, fileManaged, fileSymlink } from './file.ts';
import { pkgInstalled, pkgRemoved } from './pkg.ts';
import { serviceDead, serviceDisabled, serviceEnabled, serviceRunning } from './service.ts';
import type { StateDefinition } from './state.ts';

/** Every state function that prepull and postpull may name. A new module is a file and its lines here. */
export const STATE_FUNCTIONS: ReadonlyMap<string, StateDefinition> = new Map([
  ['cmd.run', cmdRun],
  ['file.absent', fileAbsent],
  ['file.directory', fileDirectory],
  ['file.managed', fileManaged],
  ['file.symlink', fileSymlink],
  ['pkg.installed', pkgInstalled],
  ['pkg.removed', pkgRemoved],
  ['service.dead', serviceDead],
  ['service.disabled', serviceDisabled],
  ['service.enabled', serviceEnabled],
  ['service.running', serviceRunning],
]);
