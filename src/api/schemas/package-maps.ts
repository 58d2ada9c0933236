import { z } from 'zod';
import { applicationName, createdTime, listing, next } from './common.ts';
import { text } from './parameters.ts';

export const CreatePackageMapQuery = z.strictObject({ name: text('Name of the new package map.') });

/** The domain checks the packages, and says what is wrong with each by name. */
export const CreatePackageMapBody = z.strictObject({
  packages: z
    .record(
      z.string(),
      z.strictObject({
        patterns: z
          .array(z.string())
          .meta({ description: 'Globs over the paths of files from the root of the build.' }),
        prefix: z.string().exactOptional().meta({ description: 'Put in front of every path.' }),
        remove_prefix: z.string().exactOptional().meta({
          description: 'Taken from the start of every path that has it, before `prefix`.',
        }),
      }),
    )
    .meta({ description: 'By name, how each package is cut from a build.' }),
});

export const PackageMap = z
  .object({
    application: applicationName,
    name: z.string().meta({ description: 'Name of the package map.' }),
    packages: z
      .record(
        z.string(),
        z.object({
          patterns: z.array(z.string()).meta({ description: 'Globs over paths.' }),
          prefix: z.string().optional().meta({ description: 'Put in front of every path.' }),
          remove_prefix: z.string().optional().meta({ description: 'Taken from the start first.' }),
        }),
      )
      .meta({ description: 'By name, how each package is cut from a build.' }),
    created_datetime: createdTime,
  })
  .meta({ id: 'PackageMap', description: 'How packages are cut from a build.' });

export const PreviewQuery = z.strictObject({
  build_name: text('Name of the stored build to cut.'),
});

export const PackageMapPreview = z
  .object({
    application: applicationName,
    packagemap: z.string().meta({ description: 'Name of the package map.' }),
    build: z.string().meta({ description: 'Name of the build.' }),
    packages: z
      .record(
        z.string(),
        z.object({
          files: z
            .array(
              z.object({
                from: z.string().meta({ description: 'Path in the build.' }),
                to: z.string().meta({ description: 'Path in the package.' }),
                bytes: z.number().meta({ description: 'Its size.' }),
              }),
            )
            .meta({ description: 'What the package would hold.' }),
          bytes: z.number().meta({ description: 'The size of all its files together.' }),
          unmatched_patterns: z
            .array(z.string())
            .meta({ description: 'Patterns that match no file of the build.' }),
        }),
      )
      .meta({ description: 'By name, what each package would be.' }),
  })
  .meta({ id: 'PackageMapPreview', description: 'What a package map would make of a build.' });

export const PackageMapList = z
  .object({ application: applicationName, packagemaps: listing(PackageMap), next })
  .meta({ id: 'PackageMapList', description: 'Package maps.' });
