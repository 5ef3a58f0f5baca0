import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import page from '../index.html?raw';

// The whole page against an API that is made here.
const start = new Date('2026-03-01T12:00:00Z');
const answers: Record<string, unknown> = {};
const asked: string[] = [];
const streams: Stream[] = [];

class Stream extends EventTarget {
  static CLOSED = 2;
  readyState = 1;
  onopen?: () => void;
  onerror?: () => void;
  constructor() {
    super();
    streams.push(this);
  }
}

function answer(path: string): Response {
  asked.push(path);
  const found = Object.entries(answers).find(([key]) => path.startsWith(`/api/v1${key}`));
  const headers = { date: new Date().toUTCString(), 'content-type': 'application/json' };
  return found === undefined ? new Response('{}', { status: 404, headers }) : new Response(JSON.stringify(found[1]), { headers });
}

const later = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();
const text = (id: string) => document.getElementById(id)?.textContent ?? '';
const leadership = { self: 'r2', leader: 'r1', leads: false, quorum: true };

/** Sets what the server says, and lets the page read it. */
async function say(more: { status?: object; word?: number; r3?: string }): Promise<void> {
  answers['/status'] = {
    version: '1', cluster_id: 'c', epoch: 1, revision: 7, acting: true, lab: false, observed_at: later(0), open_episodes: 0, parts: [], leadership,
    ...more.status,
  };
  const view = (subjects: unknown[]) => ({ version: 'v1', fresh_sites: 3, heard: later(-(more.word ?? 1)), subjects });
  const failing = [{ subject: { site: 'fra', service: 'checkout' }, condition: 'failing' }];
  answers['/replicas'] = {
    leadership, at: later(0), members: [
      { name: 'r1', state: 'voter', view: view(failing) }, { name: 'r2', state: 'voter', view: view(failing) },
      { name: 'r3', state: 'voter', view: view(more.r3 === 'failing' ? failing : []) },
    ],
  };
  await vi.advanceTimersByTimeAsync(2600);
}

beforeAll(async () => {
  vi.useFakeTimers({ now: start });
  vi.stubGlobal('fetch', (path: string) => Promise.resolve(answer(path)));
  vi.stubGlobal('EventSource', Stream);
  document.body.innerHTML = page.slice(page.indexOf('<body>') + '<body>'.length, page.indexOf('</body>'));
  Object.assign(answers, {
    '/sites': [{ name: 'fra', kind: 'site', services: [{ name: 'checkout', condition: 'failing', routing: 'active', weight: 100 }] }],
    '/episodes': [], '/actions': [], '/feedback': [], '/alarms': [], '/changes': [], '/conditions': { links: [{ link: 'orders:fra>ams', store: 'orders', from: 'fra', to: 'ams', state: 'link_down' }] },
    '/timeline': [{ at: later(-60), subject: { site: 'fra', service: 'checkout' }, kind: 'system', sentence: 'One.', seq: 7, n: 0 }],
  });
  await import('./main');
});
afterAll(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a page served by a follower, whose server loses its quorum while it is open', async () => {
  await say({});
  expect(text('replicas')).toContain('r1 leads. r2, which serves this page, has a quorum.');
  expect(text('loud')).toBe('');
  expect(text('sites')).toContain('Replicas disagree: ✖ r1 failing, ✖ r2 failing, ● r3 healthy');
  await say({ r3: 'failing' });
  expect(text('sites')).not.toContain('disagree');

  // Cut off: its own sight is fresh, the words of all replicas grow old, the story stays.
  await say({ status: { acting: false, reason: 'no quorum for 8 s', leadership: { self: 'r2', leads: false, quorum: false, reason: 'for 8 s' } }, word: 8 });
  expect(text('loud')).toContain('No quorum at replica r2');
  expect(text('notes')).toBe('');
  expect(text('alarms')).toBe('');
  expect(text('replicas').match(/vote stale/g)).toHaveLength(3);
  expect(document.title).toContain('✖');
  const banner = document.getElementById('loud')?.firstChild;
  await say({ status: { acting: false, leadership: { self: 'r2', leads: false, quorum: false, reason: 'for 10 s' } }, word: 10 });
  expect(document.getElementById('loud')?.firstChild).toBe(banner); // an alarm that stays is not read out again
  expect(text('story')).toContain('One.');

  // Back: the stream says that history is missing, the page reads it anew, each line once.
  streams[0]?.dispatchEvent(new Event('reset'));
  asked.length = 0;
  await say({ r3: 'failing' });
  expect(asked).toContain('/api/v1/timeline?limit=200');
  expect(document.querySelectorAll('#story li')).toHaveLength(1);
  expect(text('loud')).toBe('');
  expect(text('replicas').match(/vote counts/g)).toHaveLength(3);
});

test('words grow old by themselves while nothing is read', async () => {
  await say({});
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('no route')));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(text('alarms')).toContain('The connection to the server is lost');
  expect(text('loud')).toBe('');
  expect(text('replicas').match(/vote stale/g)).toHaveLength(3);
  expect(text('replicas')).toMatch(/last word 1\d s ago/);
  vi.stubGlobal('fetch', (path: string) => Promise.resolve(answer(path)));
});

test('an adopted ledger is told of, and its story read anew', async () => {
  await say({ status: { pending: 'it was restored from a backup' } });
  expect(text('loud')).toContain('Pending adoption');
  asked.length = 0;
  await say({ status: { epoch: 2 } });
  expect(text('loud')).toBe('');
  expect(asked).toContain('/api/v1/timeline?limit=200');
});

test('what is odd is shown while it is', async () => {
  await say({ status: { anomalies: [{ class: 'cause', sentence: 'disk of fra: 0.62 reaches 0.9 in 28 s' }] } });
  expect(text('anomalies')).toContain('cause disk of fra: 0.62 reaches 0.9 in 28 s');
  await say({});
  expect(text('anomalies')).toBe('');
});

test('a person says whether an alarm and an episode were right', async () => {
  const alarm = {
    id: 'alm_1', watch: 'latency', series: 'latency of fra', site: 'fra', class: 'symptom', onset: later(-60), last: later(-1), over: false, sentence: 'latency of fra: 2',
  };
  const odd = [{ id: 'alm_1', class: 'symptom', sentence: 'latency of fra: 2' }];
  answers['/alarms'] = [alarm];
  answers['/episodes'] = [{ id: 'ep_1', subject: { site: 'fra', service: 'checkout' }, onset: later(-60), closed_at: later(-30), kind: 'gray', sentence: 'Over.' }];
  const sent: { headers: Record<string, string>; body: unknown }[] = [];
  let refused = true;
  vi.stubGlobal('fetch', (path: string, r?: RequestInit) => {
    if (r?.method !== 'POST') return Promise.resolve(answer(path));
    sent.push({ headers: r.headers as Record<string, string>, body: JSON.parse(r.body as string) });
    if (refused) return Promise.resolve(new Response(JSON.stringify({ detail: 'the token is not valid' }), { status: 401 }));
    const word = { about: 'alm_1', label: 'false', note: 'a backup', by: 'admin jo' };
    answers['/feedback'] = [word];
    return Promise.resolve(new Response(JSON.stringify(word), { status: 201 }));
  });
  await say({ status: { anomalies: odd } });
  await say({ status: { anomalies: odd } });
  const dialog = document.getElementById('say') as HTMLDialogElement;
  const input = (id: string) => document.getElementById(id) as HTMLInputElement;
  const button = (id: string) => document.getElementById(id) as HTMLButtonElement;
  const submit = async () => {
    document.getElementById('say-form')?.dispatchEvent(new Event('submit', { cancelable: true }));
    await vi.advanceTimersByTimeAsync(300);
  };
  button('say-now-alm_1-false').click();
  expect(dialog.open).toBe(true);
  expect(text('say-what')).toBe('Wrong: the alarm of latency of fra');
  input('say-note').value = ' a backup ';
  input('say-token').value = 'wrong';
  await submit();
  expect(text('say-problem')).toContain('the token is not valid');
  expect(dialog.open).toBe(true);
  refused = false;
  input('say-token').value = 'secret';
  await submit();
  expect(dialog.open).toBe(false);
  expect(sent.at(-1)?.headers['authorization']).toBe('Bearer secret');
  expect(sent.at(-1)?.body).toEqual({ watch: 'latency', series: 'latency of fra', onset: alarm.onset, label: 'false', note: 'a backup' });
  expect(text('anomalies')).toContain('admin jo: wrong (a backup)');
  expect(button('say-now-alm_1-false').getAttribute('aria-pressed')).toBe('true');

  // The token is known now, and what is over can be spoken of.
  answers['/alarms'] = [{ ...alarm, over: true }];
  await say({ status: { feedback: [{ watch: 'latency', true: 0, false: 1, unsure: 0, labels: 1, precision: 0, lower: 0, upper: 0.73 }] } });
  expect(text('alarms-past')).toContain('admin jo: wrong (a backup)');
  expect(text('precision')).toContain('no threshold moves by it');
  button('say-past-ep_1-true').click();
  expect(document.getElementById('say-token-part')?.hidden).toBe(true);
  await submit();
  expect(sent.at(-1)?.body).toEqual({ episode_id: 'ep_1', label: 'true' });
  button('forget-past-alm_1').click();
  expect(text('say-what')).toContain('Do not learn from the alarm of latency of fra: all of fra');
  await submit();
  expect(sent.at(-1)?.body).toMatchObject({ id: 'inc-alm_1', site: 'fra', service: 'all', start: alarm.onset, incident: true });
  Object.assign(answers, { '/alarms': [], '/episodes': [], '/feedback': [] });
  vi.stubGlobal('fetch', (path: string) => Promise.resolve(answer(path)));
  await say({});
  expect(text('alarms-past')).toBe('');
});

test('a watch has its line until it judges', async () => {
  await say({ status: { warming: [{ watch: 'http-latency', sentence: 'warming, 40 of 75 points, about 3 min' }] } });
  expect(text('warming')).toBe('http-latency: warming, 40 of 75 points, about 3 min');
  await say({});
  expect(text('warming')).toBe('');
  await say({ status: { special_times: [{ name: 'sale', sentence: 'special time at fra' }] } });
  expect(text('special')).toBe('sale: special time at fra');
});

test('the replication links are shown where there are any', async () => {
  expect(document.getElementById('links-part')?.hidden).toBe(false);
  expect(text('links')).toContain('link down');
  answers['/conditions'] = {};
  await say({});
  expect(document.getElementById('links-part')?.hidden).toBe(true);
});

test('a server that is alone shows nothing of replicas', async () => {
  const strip = document.getElementById('replicas-strip');
  expect(strip?.hidden).toBe(false);
  await say({ status: { leadership: { self: '', leads: true, quorum: true } } });
  asked.length = 0;
  await say({ status: { leadership: { self: '', leads: true, quorum: true } } });
  expect(asked).not.toContain('/api/v1/replicas');
  expect(strip?.hidden).toBe(true);
  expect(text('replicas')).toBe('');
  expect(text('sites')).not.toContain('disagree');
});
