/** Who may be killed at a boundary: a process by its number, or null if nobody has the work now. */
export type Victim = () => Promise<number | null>;

/** A point between two things that a deployment does: before or after one write, queue message or command. */
export interface Boundary {
  readonly source: 'postgresql' | 'redis' | 'server';
  readonly moment: 'before' | 'after';
  /** `update steps`, `add ring`, `switch` and the like. */
  readonly name: string;
  /** Whose act it is. */
  readonly victim: Victim;
}

/** A boundary as it was seen. */
export interface SeenBoundary {
  /** `after postgresql update steps` */
  readonly kind: string;
  /** The kind, and its place among those of its kind: `after postgresql update steps #2`. */
  readonly label: string;
  /** Its place among all, from 1. */
  readonly index: number;
}

/** What becomes of the act at whose boundary something happened: `drop` if who wanted it is dead. */
export type Verdict = 'go' | 'drop';

export interface Fault {
  /** Whether it is to happen here. Not asked while another one happens. */
  readonly at: (seen: SeenBoundary) => boolean;
  readonly strike: (boundary: Boundary) => Promise<Verdict>;
}

/** Where all boundaries come by. */
export interface Gate {
  /** Waits while a fault happens here. */
  pass(boundary: Boundary): Promise<Verdict>;
  /** Begins to count anew. */
  arm(fault: Fault): void;
  /** Lets all pass, uncounted. @returns what was seen since `arm` */
  disarm(): readonly SeenBoundary[];
  /** The boundaries at which the fault has happened since `arm`. */
  readonly struck: readonly string[];
}

/** A gate that lets all pass until it is armed. */
export function createGate(): Gate {
  let seen: SeenBoundary[] = [];
  let counts = new Map<string, number>();
  let armed: Fault | null = null;
  let struck: string[] = [];
  let isStriking = false;
  return {
    pass: async (boundary) => {
      if (armed === null) return 'go';
      const kind = `${boundary.moment} ${boundary.source} ${boundary.name}`;
      const count = (counts.get(kind) ?? 0) + 1;
      counts.set(kind, count);
      const here = { kind, label: `${kind} #${count}`, index: seen.length + 1 };
      seen.push(here);
      if (isStriking || !armed.at(here)) return 'go';
      struck.push(here.label);
      isStriking = true;
      try {
        return await armed.strike(boundary);
      } finally {
        isStriking = false;
      }
    },
    arm: (fault) => {
      seen = [];
      struck = [];
      counts = new Map();
      armed = fault;
    },
    disarm: () => {
      armed = null;
      return seen;
    },
    get struck() {
      return struck;
    },
  };
}
