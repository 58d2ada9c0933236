import { z } from 'zod';
import type { Version } from '../builds/versions.ts';
import type { Contestant } from '../peers/contestant.ts';
import type { BenchMuster } from './muster.ts';

/** Muster as a contestant, and what of it other rows look at. */
export interface MusterContestant extends Contestant {
  /** Ids of all deployments so far. */
  readonly deployments: readonly string[];
  /** Uploads a version, once. */
  upload(version: Version): Promise<void>;
  /** Deploys a version that is uploaded. @returns the deployment */
  deploy(version: Version): Promise<string>;
}

/** A server as Muster is told of it. */
export interface MusterServer {
  readonly name: string;
  readonly port: number;
  readonly hostKey: string;
  /** The server through which it is reached. */
  readonly jump?: string;
}

export interface MusterSetup {
  readonly muster: BenchMuster;
  readonly application: string;
  readonly servers: readonly MusterServer[];
  /** The folder on every server in which clones are made. */
  readonly place: string;
  /** Takes a folder off all servers, without Muster. */
  readonly remove: (path: string) => Promise<unknown>;
}

const KEYPAIR = 'bench';
const deploymentReply = z.object({ id: z.string(), status: z.string() });
const keypairReply = z.object({ public_key: z.string() });

/** @returns the public half of the key that Muster logs in with */
export async function makeMusterKey(muster: BenchMuster): Promise<string> {
  const reply = await muster.call('PUT', `/global/keypairs?name=${KEYPAIR}&generate=true`);
  return keypairReply.parse(reply).public_key;
}

/** Registers servers, and makes an application whose one gitdeploy is the whole build. */
export async function makeMusterContestant(setup: MusterSetup): Promise<MusterContestant> {
  const { muster, application } = setup;
  const servers = setup.servers.map(({ name }) => name);
  await muster.call('PUT', `/app?app_name=${application}`);
  for (const server of setup.servers) await registerServer(muster, server);
  const app = `/app/${application}`;
  const uploaded = new Set<number>();
  const deployments: string[] = [];
  // Each first deployment is one of a gitrepo, a clone and a path that there were not before.
  let place = 0;
  const gitdeploy = (): string => `place-${place}`;
  const path = (): string => `${setup.place}/muster-${place}`;
  const upload = async (version: Version): Promise<void> => {
    if (uploaded.has(version.number)) return;
    uploaded.add(version.number);
    const build = `version-${version.number}`;
    await muster.call('PUT', `${app}/builds?build_name=${build}`);
    await muster.upload(`${app}/builds/${build}?file_type=tar.gz`, version.archive);
  };
  const describe = async (): Promise<void> => {
    place += 1;
    await muster.finish('PUT', `${app}/gitrepos?name=${gitdeploy()}`);
    await muster.call('PUT', `${app}/gitdeploys?name=${gitdeploy()}`, {
      package: 'master',
      location: { path: path(), gitrepo: gitdeploy(), default_branch: 'master' },
    });
  };
  /** As its users do before they deploy in a hurry, or its observer for them: the worker has connections. */
  const warm = async (): Promise<void> => {
    await Promise.all(servers.map((name) => muster.finish('POST', `/server/${name}?check=true`)));
  };
  const deploy = async ({ number }: Version): Promise<string> => {
    const target = { servers, gitdeploys: [gitdeploy()] };
    const path = `${app}/deployments?build_name=version-${number}`;
    const { id } = deploymentReply.parse(await muster.finish('POST', path, target));
    deployments.push(id);
    return id;
  };
  return {
    name: 'Muster',
    about: 'Muster, the built program with its own PostgreSQL, API and worker in one process.',
    deployments,
    upload,
    deploy,
    path,
    first: {
      name: 'initialize, then deploy',
      prepare: async (version) => {
        await upload(version);
        await describe();
      },
      deliver: async (version) => {
        const initialize = `${app}/gitdeploys/${gitdeploy()}?initialize=true`;
        await muster.finish('POST', initialize, { servers });
        await deploy(version);
      },
    },
    updates: [
      {
        name: 'worker warm',
        prepare: async (version) => {
          await upload(version);
          await warm();
        },
        deliver: async (version) => {
          await deploy(version);
        },
      },
    ],
    clear: async () => {
      await muster.finish('POST', `${app}/gitdeploys/${gitdeploy()}?deinitialize=true`, {
        servers,
      });
      await setup.remove(path());
    },
  };
}

export async function registerServer(muster: BenchMuster, server: MusterServer): Promise<void> {
  const query = `name=${server.name}&environment=bench`;
  await muster.call('PUT', `/server?${query}`, { connection: connectionOf(server) });
}

/** The `connection` of a server in the API. */
export function connectionOf({ port, hostKey, jump }: MusterServer): Record<string, unknown> {
  return {
    ...{ kind: 'ssh', host: '127.0.0.1', port, user: 'root', keypair: KEYPAIR, host_key: hostKey },
    ...(jump === undefined ? {} : { jump }),
  };
}
