/** The little of WebAssembly's interface that is used here: it is part of the `dom` library, which a server does not load. */
declare namespace WebAssembly {
  type Exports = Record<string, unknown>;
  type Imports = Record<string, object>;

  class Module {
    private constructor();
    static imports(module: Module): { readonly module: string }[];
  }

  interface Instance {
    readonly exports: Exports;
  }

  function compile(bytes: Uint8Array): Promise<Module>;
  function instantiate(module: Module, imports: Imports): Promise<Instance>;
}
