import { beforeEach, describe, expect, test } from 'vitest';
import { problem } from './api';
import { h, replace } from './dom';
import { Story } from './story';
import type { Action, Decision, Line, Site, Status } from './types';
import * as view from './view';

const now = new Date('2026-03-01T12:00:00Z');
const fra = { site: 'fra', service: 'checkout' };
const evil = '<img src=x onerror=alert(1)>';

const status: Status = {
  version: '1', cluster_id: 'c', epoch: 1, revision: 7, acting: true, lab: false, observed_at: '2026-03-01T12:00:00Z',
  open_episodes: 0, parts: [],
};

describe('sites', () => {
  const sites: Site[] = [
    {
      name: 'fra', kind: 'site', region: 'eu', fresh: true, services: [{
        name: 'checkout', condition: 'failing', kind: 'dead-service', sentence: evil, routing: 'drained', weight: 0,
        traffic: { at: '', known: true, requests_s: 0, count: 0, share: 0, success: 0, weight: 0, weight_known: true },
      }],
    },
    { name: 'ams', kind: 'site', services: [{ name: 'checkout', condition: 'unknown', routing: 'unknown', weight: 100 }] },
    { name: 'lon', kind: 'witness', fresh: false, services: null },
  ];
  const table = view.sites(sites);
  const rows = [...table.querySelectorAll('tbody tr')].map((r) => r.textContent ?? '');

  test('a cell has the condition, the share, the weight and the routing in words', () => {
    for (const words of ['failing', 'dead-service', '0 % of users', 'weight 0 %', 'routing drained']) expect(rows[0]).toContain(words);
  });
  test('unknown is said', () => {
    expect(rows[1]).toContain('share of users unknown');
    expect(rows[1]).toContain('agent: unknown');
    expect(rows[1]).toContain('? unknown');
  });
  test('a witness looks on', () => {
    expect(rows[2]).toContain('witness, agent silent');
    expect(rows[2]).toContain('looks on');
  });
  test('markup in a sentence stays text', () => {
    expect(table.querySelector('img')).toBeNull();
    expect(rows[0]).toContain(evil);
  });
  test('rows and columns have headers', () => {
    expect(table.querySelectorAll('th[scope=row]')).toHaveLength(3);
    expect(table.querySelectorAll('th[scope=col]')).toHaveLength(2);
  });
});

test('a decision shows every ruling, what did not pass first', () => {
  const d: Decision = {
    id: 'dec_1', episode_id: 'ep_1', n: 2, subject: fra, at: '2026-03-01T11:59:00Z', policy: 'dead-service', plan: 'drain',
    mode: 'observe', verdict: 'hold', sentence: 'Would drain; held.', rulings: [
      { guard: 'policy', n: 1, answer: 'pass', sentence: 'fits' },
      { guard: 'capacity', n: 10, answer: 'bound', bound: 0.6, sentence: 'at most 60 % movable now' },
      { guard: 'quorum', n: 2, answer: 'cannot_tell', sentence: 'one vantage is silent' },
      { guard: 'hold', n: 5, answer: 'object', sentence: '4 s of 10 s' },
    ],
    alternatives: [{ policy: 'slow', plan: 'drain', verdict: 'ignore', sentence: 'not slow' }],
  };
  const e = view.decision(d, now);
  expect([...e.querySelectorAll('tbody th')].map((x) => x.textContent)).toEqual(['quorum', 'hold', 'capacity', 'policy']);
  const text = e.textContent ?? '';
  for (const words of ['hold', 'The mode is observe', 'mode observe', 'cannot tell', 'bound 60 %', '4 s of 10 s', 'not slow', 'Rulings of 4 guards; 1 pass']) {
    expect(text).toContain(words);
  }
  expect(view.decision(undefined, now).textContent).toBe('Nothing has been decided yet.');
  expect(view.decision({ ...d, rulings: null, alternatives: null }, now).textContent).toContain('Rulings of 0 guards');
});

test('an action shows its steps and attempts', () => {
  const a: Action = {
    id: 'act_1', subject: fra, plan: 'drain', attempt: 1, by: 'policy dead-service', reason: 'dead', state: 'verifying',
    created_at: '2026-03-01T11:59:00Z', sentence: 'Draining.', steps: [
      { n: 1, of: 1, target: 'director', weight: 0, state: 'verifying', attempts: [
        { n: 1, at: '2026-03-01T11:59:00Z', latency_ms: 1000.4, result: 'unknown' },
        { n: 2, at: '2026-03-01T11:59:02Z', latency_ms: 12, status: 200, result: 'done', detail: evil },
      ] },
    ],
  };
  const e = view.actions([a], now);
  const text = e.textContent ?? '';
  for (const words of ['weight to 0 % by director', '2 attempts', 'no answer after 1000 ms', 'HTTP 200 after 12 ms', evil]) {
    expect(text).toContain(words);
  }
  expect(e.querySelector('img')).toBeNull();
  expect(view.actions([{ ...a, steps: null }], now).textContent).toContain('Draining.');
});

test('a line cannot choose its own class', () => {
  const l: Line = { at: '2026-03-01T11:59:00Z', subject: fra, kind: 'decision', sentence: 'Held.', seq: 1, n: 0 };
  expect(view.line(l, now).className).toBe('line decision');
  expect(view.line({ ...l, kind: 'x y' }, now).className).toBe('line other');
});

describe('banners', () => {
  const f = (s: Partial<Status>, link: view.Link, age: number | undefined, trouble = '') =>
    view.banners({ ...status, ...s }, link, link === 'lost' ? now : undefined, age, trouble);
  test('all is well: nothing is said', () => {
    expect(f({}, 'live', 1)).toEqual({ alarms: [], notes: [] });
  });
  test('a lost connection, and only once', () => {
    const b = f({}, 'lost', 100);
    expect(b.alarms).toHaveLength(1);
    expect(b.alarms[0]).toContain('connection to the server is lost since');
  });
  test('stale data', () => {
    expect(f({}, 'live', view.staleAfter).alarms).toEqual([]);
    const { alarms } = f({}, 'live', 42);
    expect(alarms).toHaveLength(1);
    expect(alarms[0]).toMatch(/^The data is stale: the last observation is from 2026-0.*\.$/);
    expect(f({}, 'live', 43).alarms).toEqual(alarms);
  });
  test('no observation at all', () => {
    const { observed_at: _, ...none } = status;
    expect(view.banners(none, 'live', undefined, undefined, '').alarms[0]).toContain('observed nothing yet');
  });
  test('observe, brake, tilt, a broken part and a refused question', () => {
    expect(f({ acting: false, reason: 'every policy observes' }, 'live', 1).notes)
      .toEqual(['Nothing is done automatically. Every policy observes.']);
    expect(f({ brake: { on: true, by: 'ada', reason: 'deploy', at: '' } }, 'live', 1).alarms[0]).toContain('set by ada: deploy');
    expect(f({ acting: false, reason: 'the brake is on', brake: { on: true, by: 'ada', reason: 'deploy', at: '' } }, 'live', 1).notes).toEqual([]);
    expect(f({ brake: { on: false, by: 'ada', reason: 'deploy', at: '' } }, 'live', 1).alarms).toEqual([]);
    const work = { site: 'fra', service: 'all', what: 'disks', by: 'admin jo', end: '2026-11-23T08:00:00Z' };
    expect(f({ maintenance: [work] }, 'live', 1).notes[0]).toMatch(/^fra is under maintenance by admin jo until .*: disks\.$/);
    expect(f({ maintenance: [{ ...work, service: 'checkout' }] }, 'live', 1).notes[0]).toContain('checkout at fra is under');
    expect(f({ tilt: { on: true, reason: 'clock jumped' } }, 'live', 1).alarms[0]).toContain('clock jumped');
    expect(f({ parts: [{ name: 'store', ok: false, word: 'disk full' }] }, 'live', 1).alarms).toEqual(['store: disk full']);
    expect(f({}, 'polling', 1, '/sites: no.').alarms).toEqual(['/sites: no.']);
  });
});

test('the status line names the link in words', () => {
  expect(view.statusLine(undefined, 'connecting').textContent).toContain('connecting');
  expect(view.statusLine(status, 'lost').textContent).toContain('CONNECTION LOST');
  expect(view.statusLine({ ...status, acting: false }, 'live').textContent).toContain('does not act');
  const braked = { ...status, acting: true, brake: { on: true, by: 'jo', reason: 'storm', at: '2026-11-23T08:00:00Z' } };
  expect(view.statusLine(braked, 'live').textContent).toContain('does not act, the brake is on');
  expect(view.statusLine({ ...status, acting: true }, 'lost').textContent).toContain('acts or not: unknown');
});

test('problem details become a sentence', () => {
  expect(problem('/sites', 503, { title: 'Unavailable', detail: 'the ledger has no leader', hint: 'wait' }))
    .toBe('/sites: the ledger has no leader; wait.');
  expect(problem('/sites', 500, null)).toBe('/sites: the server answers 500.');
});

describe('story', () => {
  const l = (seq: number, n = 0): Line => ({ at: '', subject: fra, kind: 'system', sentence: `${seq}.${n}`, seq, n });
  test('lines come once and in order', () => {
    const s = new Story();
    expect(s.add([l(2), l(1, 1), l(1)]).map((x) => x.sentence)).toEqual(['1.0', '1.1', '2.0']);
    expect(s.add([l(2), l(2, 1), l(3)]).map((x) => x.sentence)).toEqual(['2.1', '3.0']);
    expect(s.newest).toBe(3);
    s.clear();
    expect(s.newest).toBe(0);
  });
});

describe('replace', () => {
  beforeEach(() => document.body.replaceChildren());
  test('open details and the focus survive', () => {
    const make = () => h('details', { id: 'd' }, h('summary', { id: 's', tabindex: '0' }, 'x'));
    const parent = h('div', { id: 'p' }, make());
    document.body.append(parent);
    (parent.querySelector('details') as HTMLDetailsElement).open = true;
    (parent.querySelector('summary') as HTMLElement).focus();
    replace(parent, make());
    expect((parent.querySelector('details') as HTMLDetailsElement).open).toBe(true);
    expect(document.activeElement?.id).toBe('s');
  });
});
