import { hasEnded } from "../api/jobStream";
import type { Job } from "../api/types";

export interface JobSource {
  follow: (id: string, signal: AbortSignal) => AsyncIterable<Job>;
  read: (id: string, signal: AbortSignal) => Promise<Job>;
  pause: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

interface Watching {
  source: JobSource;
  onJob: (job: Job) => void;
  onLost: (id: string, error: unknown) => void;
  signal: AbortSignal;
  /** Event streams at one time. A browser allows six connections to a host, for all its tabs together. */
  streams?: number;
}

const POLL_PAUSE_MS = 1_500;

/**
 * Watches many jobs over few connections: the first ones by event stream, the rest by asking one after another
 * until a stream comes free. A job is left alone once it has ended.
 */
export class JobWatch {
  private readonly waiting = new Set<string>();
  private readonly followed = new Set<string>();
  private polling = false;

  constructor(private readonly watching: Watching) {}

  add(id: string): void {
    if (this.followed.has(id)) return;
    this.waiting.add(id);
    this.fill();
  }

  private fill(): void {
    const { streams = 2, signal } = this.watching;
    if (signal.aborted) return;
    for (const id of this.waiting) {
      if (this.followed.size >= streams) break;
      this.waiting.delete(id);
      void this.follow(id);
    }
    if (!this.polling && this.waiting.size > 0) void this.poll();
  }

  private async follow(id: string): Promise<void> {
    const { source, onJob, signal } = this.watching;
    this.followed.add(id);
    try {
      for await (const job of source.follow(id, signal)) onJob(job);
    } catch (error) {
      this.lose(id, error);
    }
    this.followed.delete(id);
    this.fill();
  }

  private async poll(): Promise<void> {
    const { source, signal } = this.watching;
    this.polling = true;
    try {
      while (this.waiting.size > 0 && !signal.aborted) {
        for (const id of [...this.waiting]) await this.ask(id);
        if (this.waiting.size > 0) await source.pause(POLL_PAUSE_MS, signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.polling = false;
    }
  }

  private async ask(id: string): Promise<void> {
    const { source, onJob, signal } = this.watching;
    if (signal.aborted || !this.waiting.has(id)) return;
    try {
      const job = await source.read(id, signal);
      if (hasEnded(job.state)) this.waiting.delete(id);
      onJob(job);
    } catch (error) {
      this.waiting.delete(id);
      this.lose(id, error);
    }
  }

  private lose(id: string, error: unknown): void {
    if (!this.watching.signal.aborted) this.watching.onLost(id, error);
  }
}
