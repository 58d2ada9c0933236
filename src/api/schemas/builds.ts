import { z } from 'zod';
import { ARCHIVE_TYPES } from '../../domain/archive-entry.ts';
import { Attributes, GivenAttributes } from './attributes.ts';
import { applicationName, createdTime, listing, next, StoredError, timeOrNull } from './common.ts';
import { JobSummary } from './jobs.ts';
import { flag, limit, oneOf, text, wait } from './parameters.ts';

export const CreateBuildQuery = z.strictObject({
  build_name: text('Name of the new build. A `/` in it becomes `-`.'),
});
export const CreateBuildBody = z
  .strictObject({ attributes: GivenAttributes.optional() })
  .optional();
export const ChangeBuildBody = z.strictObject({ attributes: GivenAttributes });

export const UploadQuery = z.strictObject({
  file_type: oneOf(ARCHIVE_TYPES, 'What kind of archive it is.'),
  package_map: text(
    'Name of the package map to cut it by; without one there is the package `master` alone.',
  ).optional(),
  sha256: z
    .string()
    .regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hexadecimal digits')
    .transform((hash) => hash.toLowerCase())
    .optional()
    .meta({ description: 'SHA-256 of the archive; the upload is refused if it has another one.' }),
  indirect_url: text(
    'An http or https URL that Muster fetches the archive from, in the job. It must lead to a public address or to one that the setting MUSTER_INDIRECT_ALLOW names, redirects (at most 5) included.',
  ).optional(),
  verify: flag('Whether to check the TLS certificate of `indirect_url`.').default(true),
  wait,
});

export const DownloadQuery = z.strictObject({
  file_type: oneOf(['zip', 'tar.gz'], 'What kind of archive to make.').default('tar.gz'),
});

export const Package = z
  .object({
    files: z.number().int().meta({ description: 'How many files it has.' }),
    bytes: z.number().meta({ description: 'How many bytes they have together.' }),
    tree: z.string().meta({ description: 'Id of its git tree.' }),
  })
  .meta({ id: 'Package', description: 'A package of a build.' });

export const Build = z
  .object({
    application: applicationName,
    build_name: z.string().meta({ description: 'Name of the build.' }),
    attributes: Attributes,
    state: z.enum(['created', 'storing', 'stored', 'failed']).meta({
      description: 'Only a stored build can be deployed; a failed one may be uploaded again.',
    }),
    packages: z
      .record(z.string(), Package)
      .meta({ description: 'By name; `master` is the whole build. Empty until it is stored.' }),
    size_bytes: z.number().nullable().meta({ description: 'Size of the uploaded archive.' }),
    sha256: z.string().nullable().meta({ description: 'SHA-256 of the uploaded archive.' }),
    file_type: z.string().nullable().meta({ description: 'Kind of the uploaded archive.' }),
    created_datetime: createdTime,
    stored_datetime: timeOrNull('When it was stored.'),
    error: StoredError,
  })
  .meta({ id: 'Build', description: 'A build.' });

export const CreatedBuild = Build.extend({
  messages: z
    .array(z.string())
    .meta({ description: 'What the caller should know, such as a changed name.' }),
}).meta({ id: 'CreatedBuild', description: 'A build that was just created.' });

export const UploadedBuild = Build.extend({ job: JobSummary }).meta({
  id: 'UploadedBuild',
  description: 'A build and the job that stores it.',
});

export const PackageList = z
  .object({
    application: applicationName,
    build_name: z.string().meta({ description: 'The build they are of.' }),
    packages: listing(
      Package.extend({ name: z.string().meta({ description: 'Name of the package.' }) }).meta({
        id: 'NamedPackage',
        description: 'A package of a build, with its name.',
      }),
    ),
    next,
  })
  .meta({ id: 'PackageList', description: 'The packages of a build; none until it is stored.' });

export const FileListQuery = z.strictObject({
  limit,
  after: text('The path after which the page begins; there need be no such file.').optional(),
});

const bytes = z.number().meta({ description: 'Its size.' });

export const PackageFile = z
  .object({
    path: z.string().meta({ description: 'From the root of the package.' }),
    mode: z.string().meta({
      description: '`100644`, `100755` for executables, `120000` for symbolic links.',
    }),
    bytes,
  })
  .meta({ id: 'PackageFile', description: 'A file of a package.' });

export const PackageFileList = z
  .object({
    application: applicationName,
    build: z.string().meta({ description: 'The build it is of.' }),
    package: z.string().meta({ description: 'Name of the package.' }),
    files: z.array(PackageFile).meta({
      description:
        'In the order of the bytes of their paths; all of them unless `limit` or `after` is given.',
    }),
    next,
  })
  .meta({ id: 'PackageFileList', description: 'The files of a package.' });

export const DiffQuery = z.strictObject({
  from: text('The build to compare with, of the same application.'),
  package: text('Which package of both to compare; `master` is the whole build.').default('master'),
});

const changes = (what: string) =>
  z
    .array(
      z.object({
        path: z.string().meta({ description: 'From the root of the package.' }),
        bytes: z.number().meta({ description: 'The new size; the old one of a deleted file.' }),
      }),
    )
    .meta({ description: `Files that ${what}, in the order of the bytes of their paths.` });

export const BuildDiff = z
  .object({
    application: applicationName,
    build: z.string().meta({ description: 'The build that is looked at.' }),
    from: z.string().meta({ description: 'The build that it is compared with.' }),
    package: z.string().meta({ description: 'The package that is compared.' }),
    added: changes('only this build has'),
    modified: changes('both have, with another content or mode'),
    deleted: changes('only the build `from` has'),
  })
  .meta({ id: 'BuildDiff', description: 'What turns one build into another.' });

export const BuildList = z
  .object({ application: applicationName, builds: listing(Build), next })
  .meta({ id: 'BuildList', description: 'Builds.' });
