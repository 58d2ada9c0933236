import { z } from 'zod';
import { defineScript } from '../script.ts';
import { PKG_TEXT } from './pkg-script.ts';
import { refuseOnLocalServer } from './refuse-on-local-server.ts';
import { defineStateFunction } from './state.ts';

/** `apt-get install name-` removes, and `*`, `?`, `/`, `=` and `@` mean more than a name to one tool or another. */
const PACKAGE_NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.+:-]{0,199}[A-Za-z0-9_.+])?$/;
const NAME_RULE =
  'must be the name of a package: letters, digits and _ . + : -, no - first or last';

const packageNameSchema = z.string().regex(PACKAGE_NAME, NAME_RULE);
const versionSchema = z
  .union([z.string(), z.number().transform(String)])
  .refine(
    (version) => /^[A-Za-z0-9][A-Za-z0-9_.+:~^-]{0,199}$/.test(version) && version !== 'latest',
    'must be one exact version, as the server’s package manager writes it',
  );

const nameSchema = z.string().meta({ description: 'The package. Not looked at if there is pkgs.' });

const installedSchema = z
  .strictObject({
    name: nameSchema,
    pkgs: z
      .array(z.union([packageNameSchema, z.record(packageNameSchema, versionSchema)]))
      .min(1)
      .max(200)
      .optional()
      .meta({ description: 'More than one package: names, or {"name":"version"}.' }),
    version: versionSchema.optional().meta({
      description: 'The exact version of name. Default: whichever is there, else the newest.',
    }),
    refresh: z.boolean().optional().meta({
      description:
        'Fetch the lists of packages before something is installed. Default: yes, but install even if that fails.',
    }),
  })
  .superRefine(checkNames);

/** Salt's `pkg.installed`: installs what is missing or has another version. */
export const pkgInstalled = defineStateFunction({
  schema: installedSchema,
  build: (args, context) => {
    refuseOnLocalServer('pkg.installed', context);
    const { refresh } = args;
    return defineScript({
      name: 'pkg.installed',
      text: PKG_TEXT,
      args: ['install', refresh === undefined ? '' : `${refresh}`, ...specs(args)],
    });
  },
});

const removedSchema = z
  .strictObject({
    name: nameSchema,
    pkgs: z
      .array(packageNameSchema)
      .min(1)
      .max(200)
      .optional()
      .meta({ description: 'More than one package.' }),
  })
  .superRefine(checkNames);

/** Salt's `pkg.removed`: removes what is installed, and leaves its configuration as the package manager does. */
export const pkgRemoved = defineStateFunction({
  schema: removedSchema,
  build: (args, context) => {
    refuseOnLocalServer('pkg.removed', context);
    return defineScript({
      name: 'pkg.removed',
      text: PKG_TEXT,
      args: ['remove', '', ...specs(args)],
    });
  },
});

interface PackageArguments {
  readonly name: string;
  readonly pkgs?: readonly (string | Readonly<Record<string, string>>)[] | undefined;
  readonly version?: string | undefined;
}

/** `name` or `name=version`, each once. */
function specs({ name, pkgs, version }: PackageArguments): string[] {
  if (pkgs === undefined) return [version === undefined ? name : `${name}=${version}`];
  const given = pkgs.flatMap((entry) =>
    typeof entry === 'string'
      ? [entry]
      : Object.entries(entry).map(([one, itsVersion]) => `${one}=${itsVersion}`),
  );
  return [...new Set(given)];
}

/** With `pkgs` the name is the state's id, which need not be a package's, and there is nothing to be of a version. */
function checkNames(args: PackageArguments, context: z.RefinementCtx): void {
  if (args.pkgs === undefined) {
    if (!PACKAGE_NAME.test(args.name)) {
      context.addIssue({ code: 'custom', path: ['name'], message: NAME_RULE });
    }
  } else if (args.version !== undefined) {
    const message = 'is for one package; with pkgs write {"name":"version"} in the list';
    context.addIssue({ code: 'custom', path: ['version'], message });
  }
}
