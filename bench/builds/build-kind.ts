/** What a build is made of. */
export interface BuildShape {
  readonly files: number;
  /** Each file has between a third of this and about twice as much. */
  readonly meanBytes: number;
  /** How many of a hundred files no program can compress. */
  readonly binaryPercent: number;
  /** How much of a file an update changes: all of it is written anew, but so many of a hundred lines differ. */
  readonly changedPercent: number;
}

/** As `--build` names them. */
export const BUILD_KINDS = ['default', 'tiny', 'large', 'binary'] as const;
export type BuildKind = (typeof BUILD_KINDS)[number];

/** About 70 MB each, but for `tiny`, whose weight is its number of files. */
export const BUILD_SHAPES: Readonly<Record<BuildKind, BuildShape>> = {
  default: { files: 3000, meanBytes: 24_000, binaryPercent: 10, changedPercent: 20 },
  tiny: { files: 20_000, meanBytes: 600, binaryPercent: 0, changedPercent: 20 },
  large: { files: 40, meanBytes: 1_800_000, binaryPercent: 50, changedPercent: 20 },
  binary: { files: 1000, meanBytes: 72_000, binaryPercent: 100, changedPercent: 20 },
};

/** A few files, for what is about the number of servers. */
export const SMALL_BUILD: BuildShape = {
  files: 20,
  meanBytes: 2000,
  binaryPercent: 0,
  changedPercent: 20,
};

/** How many files an update changes: one in a hundred, and at least one. */
export function changedFiles({ files }: BuildShape): number {
  return Math.max(1, Math.round(files / 100));
}
