import { z } from 'zod';
import { defineScript } from '../script.ts';
import {
  contentsSchema,
  modeSchema,
  ownerSchema,
  removablePathSchema,
  serverPathSchema,
} from './file-arguments.ts';
import { ABSENT_TEXT, DIRECTORY_TEXT, MANAGED_TEXT, SYMLINK_TEXT } from './file-scripts.ts';
import { defineStateFunction, type StateContext } from './state.ts';

const makedirsSchema = z.boolean().default(false).meta({
  description: 'Make the folder it lies in, and those above, if they are missing. Default false.',
});
const userSchema = ownerSchema.optional().meta({
  description: 'Whose it is. Default: as it is; if new, the user of the connection.',
});
const groupSchema = ownerSchema.optional().meta({
  description: 'Which group’s it is. Default: as it is; if new, as the system gives it.',
});

const managedSchema = z.strictObject({
  name: serverPathSchema.meta({ description: 'The file. A link is followed.' }),
  contents: contentsSchema.optional().meta({
    description:
      'The text, or a list of its lines. Default: what is there; if nothing is, an empty file.',
  }),
  contents_newline: z.boolean().default(true).meta({
    description: 'End the contents with a line end if they have none. Default true.',
  }),
  mode: modeSchema.optional(),
  user: userSchema,
  group: groupSchema,
  makedirs: makedirsSchema,
  replace: z.boolean().default(true).meta({
    description: 'Write a file that is there and differs. Default true.',
  }),
  source: z
    .never({
      error:
        'there is no Salt file server here; give the text as `contents`, or deliver the file with the build',
    })
    .optional()
    .meta({ description: 'Refused: there is no Salt file server. Give contents.' }),
});

/** Salt's `file.managed`, with `contents` alone. Written beside the file and renamed, and only if it differs. */
export const fileManaged = defineStateFunction({
  schema: managedSchema,
  build: (args, context) => {
    const { contents } = args;
    return defineScript({
      name: 'file.managed',
      text: MANAGED_TEXT,
      args: [
        ...place(args.name, context),
        `${args.makedirs}`,
        args.mode ?? '',
        args.user ?? '',
        args.group ?? '',
        `${contents !== undefined && args.replace}`,
        ended(contents ?? '', args.contents_newline),
      ],
    });
  },
});

const directorySchema = z.strictObject({
  name: serverPathSchema.meta({ description: 'The folder.' }),
  mode: modeSchema.optional(),
  user: userSchema,
  group: groupSchema,
  makedirs: makedirsSchema,
});

/** Salt's `file.directory`, without `recurse` and `clean`. */
export const fileDirectory = defineStateFunction({
  schema: directorySchema,
  build: (args, context) =>
    defineScript({
      name: 'file.directory',
      text: DIRECTORY_TEXT,
      args: [
        ...place(args.name, context),
        `${args.makedirs}`,
        args.mode ?? '',
        args.user ?? '',
        args.group ?? '',
      ],
    }),
});

const absentSchema = z.strictObject({
  name: removablePathSchema.meta({
    description: 'The file, link, or folder with all that is in it.',
  }),
});

/** Salt's `file.absent`. Refuses what would take the system or a clone along. */
export const fileAbsent = defineStateFunction({
  schema: absentSchema,
  build: (args, context) =>
    defineScript({
      name: 'file.absent',
      text: ABSENT_TEXT,
      args: [...place(args.name, context), context.path],
    }),
});

const symlinkSchema = z.strictObject({
  name: removablePathSchema.meta({ description: 'The link.' }),
  target: z
    .union([serverPathSchema, z.string().regex(/^[^/\p{Cc}]\P{Cc}*$/u)], {
      error: 'must be an absolute path without `.` and `..`, or a relative path',
    })
    .meta({ description: 'What it points to; need not exist.' }),
  force: z.boolean().default(false).meta({
    description:
      'Remove a file or folder that is in the way. Default false. Another link is replaced anyway.',
  }),
  makedirs: makedirsSchema,
});

/** Salt's `file.symlink`. A link that points elsewhere is replaced in one step where the server's `mv` can. */
export const fileSymlink = defineStateFunction({
  schema: symlinkSchema,
  build: (args, context) => {
    const { target } = args;
    return defineScript({
      name: 'file.symlink',
      text: SYMLINK_TEXT,
      args: [
        ...place(args.name, context),
        `${args.makedirs}`,
        target.startsWith('/') ? context.pathOn(target) : target,
        `${args.force}`,
        context.path,
      ],
    });
  },
});

/** The first arguments of every file script: the folder that must not be left, if any, and the path. */
function place(name: string, context: StateContext): [root: string, name: string] {
  const { isLocal, pathOn } = context;
  return [isLocal ? pathOn('/').replace(/\/+$/, '') : '', pathOn(name)];
}

function ended(contents: string, withNewline: boolean): string {
  if (!withNewline) return contents.replace(/[\r\n]+$/, '');
  return contents === '' || contents.endsWith('\n') ? contents : `${contents}\n`;
}
