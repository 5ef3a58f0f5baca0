// The replicas of the server: whose word counts, and where they disagree. Pure but for making elements.
import { h } from './dom';
import type { Member, Replicas } from './types';
import { ago, clock, look } from './words';

/** Seconds after which the word of a replica does not count, and of how many locations it must hear for it to count. */
export const staleAfter = 5;
const freshSites = 2;

/** One replica, whether its vote counts, and how old its last word is in seconds; undefined: nobody knows. */
export interface Standing {
  member: Member;
  vote: string;
  age: number | undefined;
}

/** How the replicas stand so many seconds after they were read: words age by themselves. */
export function standings(all: Replicas | undefined, since: number): Standing[] {
  const at = new Date(all?.at ?? '').getTime();
  return (all?.members ?? []).map((member) => {
    const heard = new Date(member.view?.heard ?? '').getTime();
    const age = Number.isNaN(at - heard) ? undefined : (at - heard) / 1000 + since;
    return { member, age, vote: vote(member, age) };
  });
}

function vote(m: Member, age: number | undefined): string {
  if (m.state !== 'voter') return m.state;
  if (m.view === undefined) return 'never_heard';
  if (age === undefined || age > staleAfter) return 'stale';
  if (m.view.tilt?.on === true) return 'tilt';
  if (m.view.unfit !== undefined && m.view.unfit !== '') return 'unfit';
  if (m.view.fresh_sites < freshSites) return 'blind';
  return 'counts';
}

/** What each replica says of a service at a site, where not all say the same; else nothing. */
export function disagreement(all: Standing[], site: string, service: string): { standing: Standing; condition: string }[] {
  const words = all.filter((s) => s.member.view !== undefined).map((standing) => ({ standing, condition: said(standing, site, service) }));
  const known = new Set(words.map((w) => w.condition).filter((c) => c !== undefined));
  return known.size < 2 ? [] : words.map((w) => ({ ...w, condition: w.condition ?? 'unknown' }));
}

/** Only what is not healthy is listed: what is not there is healthy while the replica's word counts, and else unknown. */
function said(s: Standing, site: string, service: string): string | undefined {
  const about = (s.member.view?.subjects ?? []).filter((v) => v.subject.site === site && (v.subject.unit ?? '') === '');
  const found = about.find((v) => v.subject.service === service) ?? about.find((v) => v.subject.service === 'all' || v.subject.service === '');
  return found?.condition ?? (s.vote === 'counts' ? 'healthy' : undefined);
}

/** The strip of replicas. What it is made of changes only when something happens; the ages are told by tellAges. */
export function strip(all: Replicas, standings: Standing[], now: Date): HTMLElement[] {
  const l = all.leadership;
  const leader = (l.leader ?? '') === '' ? 'No leader is known' : `${l.leader} leads${l.since === undefined ? '' : ` since ${clock(l.since, now)}`}`;
  return [
    h('p', { class: 'quiet' }, `${leader}. ${l.self}, which serves this page, has ${l.quorum ? 'a' : 'no'} quorum.`),
    h('ul', { class: 'strip' }, ...standings.map((s) => card(s, all))),
  ];
}

function card(s: Standing, all: Replicas): HTMLElement {
  const m = s.member;
  const l = look(s.vote);
  const here = m.name === all.leadership.self;
  const why = { tilt: m.view?.tilt?.reason, unfit: m.view?.unfit, blind: `fresh inputs of ${m.view?.fresh_sites ?? 0}, ${freshSites} are needed` }[s.vote];
  return h('li', { class: `card replica${['counts', 'tilt', 'unfit', 'blind'].includes(s.vote) ? '' : ' idle'}` },
    h('h3', {}, name(m, here), m.name === all.leadership.leader && ' ',
      m.name === all.leadership.leader && h('span', { class: 'badge busy' }, h('span', { class: 'shape', 'aria-hidden': 'true' }, '★'), ' leads'),
      here && h('span', { class: 'quiet' }, ' this page')),
    h('div', {}, h('span', { class: `badge ${l.tone}` }, h('span', { class: 'shape', 'aria-hidden': 'true' }, l.shape), ' ',
      h('span', { class: 'quiet' }, 'vote '), l.word), why !== undefined && why !== '' && `: ${why}`),
    h('div', { class: 'quiet figures' }, [m.at === undefined || m.at === '' ? '' : `at ${m.at}`, m.view?.version ?? ''].filter(Boolean).join(', ')),
    m.view !== undefined && h('div', { class: 'quiet figures' }, 'last word ', h('span', { 'data-age': m.name })));
}

/** A replica by its name; with the way to its own page where it has one. */
function name(m: Member, here: boolean): HTMLElement | string {
  const url = here ? undefined : webAddress(m.url);
  return url === undefined ? m.name : h('a', { href: url, id: `replica-${m.name}`, rel: 'noreferrer' }, m.name);
}

/** An address that a browser may go to; nothing else becomes a link. */
export function webAddress(text: string | undefined): string | undefined {
  try {
    const url = new URL(text ?? '');
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : undefined;
  } catch {
    return undefined;
  }
}

/** Writes the present ages where strip left room for them. */
export function tellAges(parent: HTMLElement, standings: Standing[]): void {
  const ages = new Map(standings.map((s) => [s.member.name, ago(s.age)]));
  for (const e of parent.querySelectorAll<HTMLElement>('[data-age]')) {
    const text = ages.get(e.dataset['age'] ?? '') ?? 'unknown';
    if (e.textContent !== text) e.textContent = text;
  }
}
