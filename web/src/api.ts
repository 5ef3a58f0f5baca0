// The API: reading, and what people say.

export const base = '/api/v1';

/** What went wrong, in words for people. kind lost: no answer at all. */
export class Trouble extends Error {
  constructor(readonly kind: 'lost' | 'refused' | 'gone' | 'forbidden', message: string) {
    super(message);
  }
}

const kinds: Record<number, Trouble['kind']> = { 401: 'forbidden', 403: 'forbidden', 404: 'gone' };

/** An answer and, where the server says it, the time at which it answered. */
export interface Answer<T> {
  body: T;
  date: Date | undefined;
}

export async function get<T>(path: string): Promise<Answer<T>> {
  return call<T>(path, { headers: { accept: 'application/json' }, cache: 'no-store' });
}

/** Gives an order with a token, and returns what is on record then. */
export async function post<T>(path: string, token: string, body: unknown): Promise<T> {
  const headers = { accept: 'application/json', 'content-type': 'application/json', authorization: `Bearer ${token}` };
  return (await call<T>(path, { method: 'POST', headers, body: JSON.stringify(body) })).body;
}

async function call<T>(path: string, request: RequestInit): Promise<Answer<T>> {
  let r: Response;
  try {
    r = await fetch(base + path, { ...request, signal: AbortSignal.timeout(5000) });
  } catch {
    throw new Trouble('lost', 'The server does not answer.');
  }
  if (!r.ok) throw new Trouble(kinds[r.status] ?? 'refused', problem(path, r.status, await r.json().catch(() => undefined)));
  const date = new Date(r.headers.get('date') ?? '');
  let body: T;
  try {
    body = (await r.json()) as T;
  } catch {
    throw new Trouble('lost', 'The answer of the server broke off.');
  }
  return { body, date: Number.isNaN(date.getTime()) ? undefined : date };
}

/** A problem detail (RFC 9457) in one sentence. */
export function problem(path: string, status: number, body: unknown): string {
  const p = (typeof body === 'object' && body !== null ? body : {}) as { title?: unknown; detail?: unknown; hint?: unknown };
  const words = [p.detail ?? p.title, p.hint].filter((w): w is string => typeof w === 'string' && w !== '');
  return `${path}: ${words.length > 0 ? words.join('; ') : `the server answers ${status}`}.`;
}

/** A list, whatever is there instead: Go writes an empty one as null at times. */
export function list<T>(body: T[] | null | undefined): T[] {
  return Array.isArray(body) ? body : [];
}
