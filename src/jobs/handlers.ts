import { checkServerHandler } from './check-server.ts';
import { createGitrepoHandler } from './create-gitrepo.ts';
import { deinitializeGitdeployHandler } from './deinitialize-gitdeploy.ts';
import type { JobDependencies } from './dependencies.ts';
import { joinDeploymentHandler } from './deployment/join-deployment.ts';
import { runDeploymentHandler } from './deployment/run-deployment.ts';
import { fetchBuildHandler } from './fetch-build.ts';
import type { JobHandlers } from './handler.ts';
import { initializeGitdeployHandler } from './initialize-gitdeploy.ts';
import { maintainDepotHandler } from './maintain-depot.ts';
import { preflightHandler } from './run-preflight.ts';
import { storeBuildHandler } from './store-build.ts';

/** One handler for each kind of job; the type checker refuses a kind without one. */
export function createHandlers(dependencies: JobDependencies): JobHandlers {
  return {
    store_build: storeBuildHandler(dependencies),
    fetch_build: fetchBuildHandler(dependencies),
    maintain_depot: maintainDepotHandler(dependencies),
    create_gitrepo: createGitrepoHandler(dependencies),
    initialize_gitdeploy: initializeGitdeployHandler(dependencies),
    deinitialize_gitdeploy: deinitializeGitdeployHandler(dependencies),
    check_server: checkServerHandler(dependencies),
    preflight: preflightHandler(dependencies),
    run_deployment: runDeploymentHandler(dependencies),
    join_deployment: joinDeploymentHandler(dependencies),
  };
}
