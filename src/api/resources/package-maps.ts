import type { z } from 'zod';
import type { PackageMap } from '../../services/package-maps.ts';
import type * as schemas from '../schemas/package-maps.ts';
import { toTime } from './time.ts';

export function toPackageMap(
  application: string,
  map: PackageMap,
): z.infer<typeof schemas.PackageMap> {
  return {
    application,
    name: map.name,
    packages: Object.fromEntries(
      Object.entries(map.packages).map(([name, spec]) => [
        name,
        { ...spec, patterns: [...spec.patterns] },
      ]),
    ),
    created_datetime: toTime(map.createdAt),
  };
}
