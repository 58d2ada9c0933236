/**
 * What Muster tells of itself while it works. A port: whoever observes calls these, and knows nothing of how they are
 * counted. None of them throws. Labels are of bounded sets; an unbounded one would fill the memory of whoever scrapes.
 */
export interface Metrics {
  /** A request was answered. */
  requestEnded(request: {
    readonly method: string;
    /** The route's pattern such as `/app/:application`, or `unmatched`; never the URL. */
    readonly route: string;
    readonly status: number;
    readonly seconds: number;
  }): void;
  /** A job came to its end in this process. */
  jobEnded(job: {
    readonly kind: string;
    readonly status: 'succeeded' | 'failed' | 'cancelled';
    /** From its first start. */
    readonly seconds: number;
  }): void;
}

/** The page that a monitoring system reads. */
export interface MetricsPage {
  readonly contentType: string;
  /** Reads what is not counted along the way, each part bounded in time; what does not answer is left out. */
  render(): Promise<string>;
}
