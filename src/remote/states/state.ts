import type { z } from 'zod';
import type { RemoteScript } from '../script.ts';

/** Where a state runs. */
export interface StateContext {
  /** The gitdeploy's path, as the script will see it. */
  readonly path: string;
  /** True if a folder of Muster's own machine stands for the server. */
  readonly isLocal: boolean;
  /** What an absolute path of the server is called for scripts: `Connection.pathOn`. */
  readonly pathOn: (path: string) => string;
}

/** One function of a Salt module, such as `cmd.run`: what it takes and what it runs. */
export interface StateFunction<Schema extends z.ZodType = z.ZodType> {
  /** Of the arguments, once Salt's list of one-key objects has been made one object. */
  readonly schema: Schema;
  readonly build: (args: z.output<Schema>, context: StateContext) => RemoteScript;
}

/** A state that must have run before: by its id or its `name`, of a module (`pkg`) or of any. */
export interface Requisite {
  readonly module: string | null;
  readonly name: string;
}

/**
 * A state as it was understood: `build` is the function with its checked arguments.
 * Shape: `id` is the operator's name for it, `function` such as `cmd.run`.
 */
export interface State {
  readonly id: string;
  readonly function: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  /** The states that must have run before. */
  readonly requires: readonly Requisite[];
  readonly build: (context: StateContext) => RemoteScript;
}

/** Tie a schema to the builder that takes its output; the table holds functions of many argument types. */
export function defineStateFunction<Schema extends z.ZodType>(
  definition: StateFunction<Schema>,
): StateDefinition {
  return {
    schema: definition.schema,
    bind: (input) => {
      const parsed = definition.schema.safeParse(input);
      return parsed.success
        ? { success: true, build: (context) => definition.build(parsed.data, context) }
        : { success: false, error: parsed.error };
    },
  };
}

/** A `StateFunction` whose argument type is closed inside it. */
export interface StateDefinition {
  readonly schema: z.ZodType;
  readonly bind: (
    input: unknown,
  ) =>
    | { readonly success: true; readonly build: (context: StateContext) => RemoteScript }
    | { readonly success: false; readonly error: z.ZodError };
}
