/** One entry as the archive has it: nothing about its name or target has been checked. */
export type ArchiveEntry =
  | {
      readonly kind: 'file';
      readonly name: string;
      readonly sizeBytes: number;
      readonly isExecutable: boolean;
      /** Yields exactly `sizeBytes`; to be read, if at all, before the next entry is asked for, and once. */
      content(): AsyncIterable<Buffer>;
    }
  | { readonly kind: 'folder'; readonly name: string }
  | { readonly kind: 'symlink'; readonly name: string; readonly target: string }
  /** The same file as an earlier entry. @prop target the name of that entry */
  | { readonly kind: 'hardlink'; readonly name: string; readonly target: string }
  /** Something that no build can hold. @prop what e.g. "a device" */
  | { readonly kind: 'unsupported'; readonly name: string; readonly what: string };
