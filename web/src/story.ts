// The lines of the story, in order and each once.
import type { Line } from './types';

export const storyLength = 200;

export class Story {
  private lines: Line[] = []; // oldest first

  get newest(): number {
    return this.lines.at(-1)?.seq ?? 0;
  }

  /** Takes lines from the server and returns those that are new, oldest first. */
  add(more: Line[]): Line[] {
    const known = new Set(this.lines.map(key));
    const fresh: Line[] = [];
    for (const l of more) {
      if (known.has(key(l))) continue;
      known.add(key(l));
      fresh.push(l);
    }
    fresh.sort((a, b) => a.seq - b.seq || a.n - b.n);
    this.lines = [...this.lines, ...fresh].sort((a, b) => a.seq - b.seq || a.n - b.n).slice(-storyLength);
    return fresh;
  }

  clear(): void {
    this.lines = [];
  }
}

function key(l: Line): string {
  return `${l.seq}.${l.n}`;
}
