/** A guest from its start to its end, with its console. */
import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { failureOf, WorkerClient } from '../client.js';
import type { Failure, GuestEvent, GuestReport, GuestTimes, StartChoice } from '../protocol.js';
import type { ConsoleView } from './console-view.js';

export interface GuestState {
  readonly running: boolean;
  readonly times: GuestTimes | null;
  /** How the last guest ended. */
  readonly exit: GuestReport['exit'] | null;
  readonly failure: Failure | null;
  /** What the emulator has to say. */
  readonly notes: readonly string[];
}

export interface GuestControl {
  readonly state: GuestState;
  readonly start: (choice: StartChoice) => Promise<void>;
  readonly stop: () => void;
  readonly view: RefObject<ConsoleView | null>;
}

const NOTHING: GuestState = { running: false, times: null, exit: null, failure: null, notes: [] };

/** @param place where the console is drawn. */
export function useGuest(file: File, place: RefObject<HTMLDivElement | null>): GuestControl {
  const [state, setState] = useState(NOTHING);
  const worker = useRef<WorkerClient | null>(null);
  const view = useRef<ConsoleView | null>(null);
  const started = useRef(false);
  const change = (part: Partial<GuestState>): void => setState((before) => ({ ...before, ...part }));

  useEffect(
    () => () => {
      worker.current?.close();
      view.current?.close();
    },
    [],
  );

  const onEvent = (event: GuestEvent): void => {
    if (event.event === 'console') view.current?.write(event.bytes);
    else if (event.event === 'note') setState((before) => ({ ...before, notes: [...before.notes, event.line] }));
    else {
      started.current = true;
      change({ times: event.times });
    }
  };

  const start = async (choice: StartChoice): Promise<void> => {
    setState({ ...NOTHING, running: true });
    started.current = false;
    // A worker for each guest: when it is gone, so is all of the guest's memory.
    const client = new WorkerClient(onEvent);
    worker.current = client;
    try {
      const { ConsoleView: View } = await import('./console-view.js');
      if (place.current === null) return;
      view.current ??= new View(place.current, (bytes) => worker.current?.tell('write', bytes));
      view.current.reset();
      view.current.focus();
      const { exit, times } = await client.call('boot', file, choice);
      change({ exit, times });
    } catch (error) {
      change({ failure: failureOf(error) });
    } finally {
      client.close();
      worker.current = null;
      change({ running: false });
    }
  };

  const stop = (): void => {
    // Before the guest runs there is nothing to stop but the worker itself.
    if (started.current) worker.current?.tell('stop');
    else worker.current?.close();
  };

  return { state, start, stop, view };
}
