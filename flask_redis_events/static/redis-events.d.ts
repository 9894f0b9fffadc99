/** The page's side of Flask-Redis-Events. */

/**
 * How a stream is: `connecting` until it is live for the first time, `away` while it is coming back,
 * `refused` if the server answered 401 or 403 (or with a login page), `ended` if it is over for
 * good.  After the last two no request is sent.
 */
export type State = "connecting" | "live" | "away" | "refused" | "ended";

export interface StateDetail {
  /** The status of the last answer; 0 if there was none. */
  readonly status: number;
  /** Milliseconds until the next request. */
  readonly wait: number;
  /** The error of the network, or of one of the options' functions. */
  readonly error?: unknown;
}

export interface StreamEvent {
  readonly name: string;
  /** The event's own id, "" if it has none. */
  readonly id: string;
  /** The data as text, before they were decoded. */
  readonly text: string;
}

/** The reasons for which events may be missing, and those for which `load` is called besides. */
export type LoadReason =
  | "open" | "away" | "overflow"
  | "trimmed" | "expired" | "evicted" | "flushed" | "rolled back" | "forked" | "unknown id"
  | "no history" | (string & {});

/** The data of the server's own events, to which a page may listen, too. */
export interface ControlEvents {
  ready: { id?: string; heartbeat?: number };
  heartbeat: { id?: string };
  reset: { reason: string };
  reconnect: { reason: string };
  end: Record<string, never>;
}

type Handler<Data> = (data: Data, event: StreamEvent) => void;

/** A function for each event name; `Events` maps the names to the types of their data. */
export type Handlers<Events extends object> =
  & { [Name in keyof Events]?: Handler<Events[Name]> }
  & { [Name in Exclude<keyof ControlEvents, keyof Events>]?: Handler<ControlEvents[Name]> }
  & {
    /**
     * Fetch the state that the events build on: when the stream begins, and where events are
     * missing.  Events that arrive meanwhile wait.  If the result has the position to which the
     * state belongs, events up to it are dropped.  If it fails, it is called again after a while.
     */
    load?: (reason: LoadReason) => LoadResult | Promise<LoadResult>;
    /** Called at each change of the state, and at each failure while it is `away`. */
    state?: (state: State, detail: StateDetail) => void;
  };

export type LoadResult = string | { position?: string | null } | object | null | undefined | void;

type MaybeFunction<Value> = Value | (() => Value | Promise<Value>);

export interface Options {
  /**
   * Share one connection with all tabs of the same identity and URL.  It names the user for whom
   * the page was made, or their session; the streams of two identities are never mixed.
   */
  identity?: string;
  /** The position after which the stream begins: the one that the page's state belongs to. */
  since?: string;
  /** Make the value of an event's text; by default JSON is decoded, and anything else is text. */
  parse?: (text: string, name: string) => unknown;
  /** Seconds without a sign of life after which a stream is dead; by default 2.5 heartbeats. */
  silence?: number;
  /** As for `fetch`: "include" sends cookies to another origin, too. */
  credentials?: RequestCredentials;
  /** Headers, or a function that makes them for each request. */
  headers?: MaybeFunction<HeadersInit>;
  /** Called once after a 401, for a new token for instance; then the stream is requested again. */
  refresh?: () => unknown;
  method?: string;
  body?: MaybeFunction<BodyInit | null | undefined>;
  /** A function like `fetch` to use in its place. */
  fetch?: typeof fetch;
}

export interface Subscription {
  /** Stop listening; no function is called any more. */
  (): void;
  close(): void;
  readonly state: State;
  /** The id of the last event, "" if there is none. */
  readonly position: string;
}

/** Listen to a stream. */
export function subscribe<Events extends object = Record<string, any>>(
  url: string | URL, handlers?: Handlers<Events>, options?: Options,
): Subscription;

/** A source like `EventSource` for other libraries; it comes back by itself, where it was. */
export class Source extends EventTarget {
  constructor(url: string | URL, options?: Options & { withCredentials?: boolean });
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;
  readonly url: string;
  readonly withCredentials: boolean;
  readonly readyState: number;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent<string>) => void) | null;
  onerror: ((event: Event) => void) | null;
  close(): void;
}

/** htmx 2 with its extension for SSE: `htmx.createEventSource = createEventSource`. */
export function createEventSource(url: string): Source;

export interface Block {
  readonly name: string;
  readonly id?: string;
  /** Undefined if the block has no data. */
  readonly text?: string;
}

/** Return a function that takes the text of a stream in pieces. */
export function parser(
  hear: (block: Block) => void, retry?: (milliseconds: number) => void,
): (text: string) => void;

declare global {
  interface HTMLElementTagNameMap {
    "event-stream": HTMLElement;
  }
}
