import { beforeEach, describe, expect, test } from 'vitest';
import { h } from './dom';
import { disagreement, standings, strip, tellAges, webAddress } from './replicas';
import type { Leadership, Member, Replicas, ReplicaView, Site, Status, SubjectView } from './types';
import * as view from './view';
import { ago, look } from './words';

const now = new Date('2026-03-01T12:00:00Z');
const evil = '<img src=x onerror=alert(1)>';

const word = (name: string, more: Partial<ReplicaView> = {}): ReplicaView => ({
  replica: name, version: 'v1.2.3', fresh_sites: 3, subjects: [], heard: '2026-03-01T11:59:59Z', ...more,
});
const failing = (site: string, service = 'checkout', condition = 'failing'): SubjectView => ({ subject: { site, service }, condition });
const member = (name: string, more: Partial<Member> = {}): Member => ({ name, at: 'fra', state: 'voter', view: word(name), ...more });
const leadership: Leadership = { self: 'r2', leader: 'r1', leads: false, since: '2026-03-01T11:00:00Z', quorum: true };
const replicas = (...members: Member[]): Replicas => ({ leadership, members, at: '2026-03-01T12:00:00Z' });

describe('votes', () => {
  const f = (m: Member, since = 0) => standings(replicas(m), since)[0];
  test('a fresh word of a voter counts', () => {
    expect(f(member('r1'))).toMatchObject({ vote: 'counts', age: 1 });
  });
  test('it ages by itself', () => {
    expect(f(member('r1'), 4)).toMatchObject({ vote: 'counts', age: 5 });
    expect(f(member('r1'), 4.5)).toMatchObject({ vote: 'stale', age: 5.5 });
  });
  test('each reason why it does not count', () => {
    const { view: _, ...silent } = member('r1');
    const { heard: __, ...unheard } = word('r1');
    expect(f(silent)).toMatchObject({ vote: 'never_heard', age: undefined });
    expect(f(member('r1', { view: unheard }))).toMatchObject({ vote: 'stale', age: undefined });
    expect(f(member('r1', { view: word('r1', { tilt: { on: true, reason: 'clock' } }) }))?.vote).toBe('tilt');
    expect(f(member('r1', { view: word('r1', { tilt: { on: false } }) }))?.vote).toBe('counts');
    expect(f(member('r1', { view: word('r1', { unfit: 'store' }) }))?.vote).toBe('unfit');
    expect(f(member('r1', { view: word('r1', { fresh_sites: 1 }) }))?.vote).toBe('blind');
    for (const state of ['learner', 'absent', 'stranger', 'a-new-state']) expect(f(member('r1', { state }))?.vote).toBe(state);
  });
  test('each looks different, and only one that counts looks good', () => {
    const votes = ['counts', 'tilt', 'unfit', 'blind', 'stale', 'learner', 'absent', 'stranger'];
    expect(new Set(votes.map((v) => look(v).shape)).size).toBe(votes.length);
    expect(votes.filter((v) => look(v).tone === 'good')).toEqual(['counts']);
    for (const v of ['never_heard', 'a-new-state']) expect(look(v)).toMatchObject({ shape: '?', tone: 'none' });
  });
  test('nothing is known of a server that is alone', () => {
    expect(standings(undefined, 0)).toEqual([]);
    expect(standings({ ...replicas(), members: null }, 0)).toEqual([]);
  });
  test('a time that is none is no age', () => {
    expect(standings({ ...replicas(member('r1')), at: '' }, 0)[0]).toMatchObject({ vote: 'stale', age: undefined });
  });
});

describe('disagreement', () => {
  const f = (...members: Member[]) => disagreement(standings(replicas(...members), 0), 'fra', 'checkout')
    .map((w) => `${w.standing.member.name} ${w.condition}${w.standing.vote === 'counts' ? '' : ` ${w.standing.vote}`}`).join(', ');
  const says = (name: string, subjects: SubjectView[] | null, more: Partial<ReplicaView> = {}) =>
    member(name, { view: word(name, { subjects, ...more }) });
  test('nothing is said where all say the same', () => {
    expect(f(says('r1', []), says('r2', null), says('r3', []))).toBe('');
    expect(f(says('r1', [failing('fra')]), says('r2', [failing('fra')]))).toBe('');
    expect(f(says('r1', [failing('ams')]), says('r2', []))).toBe('');
    expect(f()).toBe('');
  });
  test('what is not listed is healthy', () => {
    expect(f(says('r1', [failing('fra')]), says('r2', [failing('fra')]), says('r3', []))).toBe('r1 failing, r2 failing, r3 healthy');
  });
  test('what is said of the whole site is said of the service, what is said of a part of the users is not', () => {
    expect(f(says('r1', [failing('fra', 'all')]), says('r2', []))).toBe('r1 failing, r2 healthy');
    expect(f(says('r1', [failing('fra', 'all'), failing('fra', 'checkout', 'suspect')]), says('r2', []))).toBe('r1 suspect, r2 healthy');
    expect(f(says('r1', [{ subject: { site: 'fra', service: 'checkout', unit: 'k7' }, condition: 'failing' }]), says('r2', []))).toBe('');
  });
  test('a replica that does not know disagrees with one that does', () => {
    expect(f(says('r1', [failing('fra', 'checkout', 'unknown')]), says('r2', []))).toBe('r1 unknown, r2 healthy');
  });
  test('whose word does not count is not taken for healthy, and makes no disagreement by that', () => {
    const old = { heard: '2026-03-01T11:50:00Z' };
    expect(f(says('r1', [failing('fra')]), says('r2', [failing('fra')]), says('r3', [], old))).toBe('');
    expect(f(says('r1', [failing('fra')]), says('r2', []), says('r3', [], old))).toBe('r1 failing, r2 healthy, r3 unknown stale');
    expect(f(says('r1', []), says('r2', [failing('fra')], { tilt: { on: true } }))).toBe('r1 healthy, r2 failing tilt');
  });

  test('the cell of the site says it, and nothing else does', () => {
    const site = (name: string): Site => ({ name, kind: 'site', services: [{ name: 'checkout', condition: 'failing', routing: 'active', weight: 100 }] });
    const all = standings(replicas(says('r1', [failing('fra')]), says(evil, [], { heard: '2026-03-01T11:50:00Z' }), says('r3', [])), 0);
    const rows = [...view.sites([site('fra'), site('ams')], all, now).querySelectorAll('tbody tr')];
    const text = rows[0]?.querySelector('.dissent')?.textContent ?? '';
    expect(text).toMatch(/^Replicas disagree: ✖ r1 failing, \? <img src=x onerror=alert\(1\)> unknown \(stale, as of .*50:00\), ● r3 healthy$/);
    expect(rows[0]?.querySelectorAll('.dissent .stale')).toHaveLength(1);
    expect(rows[0]?.querySelector('img')).toBeNull();
    expect(rows[1]?.querySelector('.dissent')).toBeNull();
    expect(view.sites([site('fra')]).querySelector('.dissent')).toBeNull();
  });
});

describe('the strip', () => {
  const all = replicas(member('r1', { url: 'https://r1.example.net/x' }), member('r2', { url: 'https://r2.example.net' }),
    member('r3', { url: 'javascript:alert(1)', view: word('r3', { tilt: { on: true, reason: evil }, heard: '2026-03-01T11:59:58Z' }) }),
    member('r4', { state: 'absent' }));
  const parent = h('div', {});
  beforeEach(() => parent.replaceChildren(...strip(all, standings(all, 0), now)));

  test('each replica has its name, place, version and vote in words', () => {
    tellAges(parent, standings(all, 0));
    const cards = [...parent.querySelectorAll('li')].map((c) => c.textContent ?? '');
    expect(cards[0]).toBe('r1 ★ leads✔ vote countsat fra, v1.2.3last word 1 s ago');
    expect(cards[1]).toBe('r2 this page✔ vote countsat fra, v1.2.3last word 1 s ago');
    expect(cards[2]).toBe(`r3◆ vote tilt: ${evil}at fra, v1.2.3last word 2 s ago`);
    expect(cards[3]).toContain('○ vote absent');
    expect(parent.textContent).toContain('r1 leads since');
    expect(parent.textContent).toContain('. r2, which serves this page, has a quorum.');
  });
  test('markup stays text, and only web addresses become links', () => {
    expect(parent.querySelector('img')).toBeNull();
    expect([...parent.querySelectorAll('a')].map((a) => a.getAttribute('href'))).toEqual(['https://r1.example.net/x']);
    for (const bad of [undefined, '', 'javascript:alert(1)', 'data:text/html,x', '//r1', 'r1.example.net']) expect(webAddress(bad)).toBeUndefined();
  });
  test('whoever is not heard is greyed', () => {
    expect([...parent.querySelectorAll('li.idle h3')].map((x) => x.textContent)).toEqual(['r4']);
    parent.replaceChildren(...strip(all, standings(all, 60), now));
    expect(parent.querySelectorAll('li.idle')).toHaveLength(4);
    expect(parent.textContent).toContain('◌ vote stale');
  });
  test('ages go on without making the strip anew', () => {
    const before = parent.querySelector('li');
    tellAges(parent, standings(all, 70));
    expect(parent.querySelector('li')).toBe(before);
    expect(before?.textContent).toContain('last word 1 min ago');
    tellAges(parent, []);
    expect(before?.textContent).toContain('last word unknown');
  });
  test('nobody leads', () => {
    const none = { ...all, leadership: { self: 'r2', leads: false, quorum: false, reason: 'x' } };
    parent.replaceChildren(...strip(none, standings(none, 0), now));
    expect(parent.textContent).toContain('No leader is known. r2, which serves this page, has no quorum.');
    expect(parent.textContent).not.toContain('★');
  });
});

describe('what nobody may overlook', () => {
  const status: Status = {
    version: '1', cluster_id: 'c', epoch: 1, revision: 7, acting: true, lab: false, observed_at: '2026-03-01T12:00:00Z', open_episodes: 0, parts: [],
  };
  const f = (s: Partial<Status>, link: view.Link = 'live') => view.loud({ ...status, ...s }, link);
  const text = (s: Partial<Status>) => view.loudBanner(f(s)).map((e) => e.textContent);

  test('nothing while all is well, for a server that is alone, and for one that has no replicas to tell of', () => {
    expect(f({ leadership })).toEqual([]);
    expect(f({ leadership: { self: '', leads: true, quorum: true } })).toEqual([]);
    expect(f({})).toEqual([]);
    expect(view.loud(undefined, 'connecting')).toEqual([]);
  });
  test('no quorum, with the way out; whoever reads it is sent to the other replicas first', () => {
    const [words] = text({ leadership: { self: 'r2', leads: false, quorum: false, reason: 'for 12 s' } });
    expect(words).toBe('✖ No quorum at replica r2: it does nothing by itself and takes no order. Reads go on: conditions are what replica r2 sees, '
      + 'records may be behind. First see whether another replica leads. Break-glass when none does: evenkeel-server break-glass, past all guards; '
      + 'then evenkeel-server reconcile.');
    expect(text({ leadership: { self: 'r2', leads: false, quorum: false, reason: 'for 13 s' } })).toEqual([words]); // not read out again
    expect(text({ leadership: { self: '', leads: false, quorum: false } })[0]).toMatch(/^✖ No quorum at this server: .* Break-glass when none/);
  });
  test('no leader', () => {
    expect(text({ leadership: { self: 'r2', leads: false, quorum: true } })[0]).toContain('No leader is known');
    expect(text({ leadership: { self: 'r2', leader: '', leads: false, quorum: true } })).toHaveLength(1);
  });
  test('pending adoption, beside no quorum', () => {
    const [quorum, pending] = text({ pending: `it was restored ${evil}`, leadership: { self: 'r2', leads: false, quorum: false } });
    expect(quorum).toContain('No quorum');
    expect(pending).toBe(`✖ Pending adoption: nothing is commanded in the name of this ledger. It was restored ${evil}. `
      + 'Ask the executors with evenkeel-server preflight, then say evenkeel-server adopt.');
    expect(view.loudBanner(f({ pending: evil }))[0]?.querySelector('img')).toBeNull();
    expect(f({ pending: '' })).toEqual([]);
  });
  test('nothing is claimed of a server that is not heard', () => {
    expect(f({ pending: 'x', leadership: { self: 'r2', leads: false, quorum: false } }, 'lost')).toEqual([]);
  });
  test('it is not said twice', () => {
    const quiet = { acting: false, reason: 'no quorum, so nothing acts', leadership: { self: 'r2', leads: false, quorum: false } };
    expect(view.banners({ ...status, ...quiet }, 'live', undefined, 1, '').notes).toEqual([]);
    expect(view.banners({ ...status, ...quiet, leadership }, 'live', undefined, 1, '').notes).toHaveLength(1);
  });
});

test('ages are in the unit that fits', () => {
  expect([-0.4, 0, 59.9, 60, 3599, 7300, undefined].map(ago)).toEqual(['0 s ago', '0 s ago', '59 s ago', '1 min ago', '59 min ago', '2 h ago', 'unknown']);
});
