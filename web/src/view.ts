// Records in, elements out. Pure but for making elements.
import { type Child, h } from './dom';
import { disagreement, type Standing } from './replicas';
import type { Action, Attempt, Decision, Episode, Line, Site, SiteService, Status, StepRun } from './types';
import { clock, look, percent, share, subject, success, weight } from './words';

/** A state as a word with a shape and a colour. */
export function badge(state: string, what = ''): HTMLElement {
  const l = look(state);
  return h('span', { class: `badge ${l.tone}` },
    h('span', { class: 'shape', 'aria-hidden': 'true' }, l.shape), ' ',
    what !== '' && h('span', { class: 'quiet' }, `${what} `), l.word);
}

export function time(at: string, now: Date): HTMLElement {
  return h('time', { datetime: at, title: at }, clock(at, now));
}

/** Sites are the rows, services the columns, in the order in which they first come. Where replicas disagree, the cell says so. */
export function sites(all: Site[], replicas: Standing[] = [], now = new Date()): HTMLElement {
  const services: string[] = [];
  for (const site of all) for (const s of site.services ?? []) if (!services.includes(s.name)) services.push(s.name);
  if (all.length === 0) return h('p', {}, 'No site is configured.');
  return h('table', {},
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Site'), ...services.map((s) => h('th', { scope: 'col' }, s)))),
    h('tbody', {}, ...all.map((site) => h('tr', {}, siteName(site), ...services.map((s) => cell(site, s, replicas, now))))));
}

function siteName(site: Site): HTMLElement {
  let agent = 'agent: unknown';
  if (site.fresh === true) agent = 'agent heard';
  if (site.fresh === false) agent = 'agent silent';
  return h('th', { scope: 'row' }, site.name,
    h('div', { class: 'quiet' }, [site.kind === 'witness' ? 'witness' : site.region, agent].filter(Boolean).join(', ')));
}

function cell(site: Site, service: string, replicas: Standing[], now: Date): HTMLElement {
  const s = (site.services ?? []).find((x) => x.name === service);
  if (s === undefined) {
    return h('td', { class: 'quiet' }, site.kind === 'witness' ? 'looks on' : 'not served here');
  }
  return h('td', {},
    h('div', {}, badge(s.condition), ' ', s.kind !== undefined && s.kind !== '' && h('span', { class: 'quiet' }, s.kind)),
    h('div', { class: 'figures' }, share(s.traffic)),
    h('div', { class: 'figures' }, [weight(s.weight, s.traffic), success(s.traffic)].filter(Boolean).join(', ')),
    h('div', {}, badge(s.routing, 'routing')),
    trouble(s),
    dissent(disagreement(replicas, site.name, service), now));
}

/** What each replica says of a subject. A word that does not count is greyed and says why. */
function dissent(words: { standing: Standing; condition: string }[], now: Date): Child {
  if (words.length === 0) return false;
  return h('div', { class: 'dissent' }, 'Replicas disagree: ', ...words.flatMap(({ standing, condition }, i): Child[] => {
    const l = look(condition);
    let why = '';
    if (standing.vote !== 'counts') why = ` (${look(standing.vote).word}`;
    if (standing.vote === 'stale') why += `, as of ${clock(standing.member.view?.heard ?? '', now)}`;
    return [i > 0 && ', ', h('span', { class: `badge ${l.tone}${why === '' ? '' : ' stale'}` },
      h('span', { class: 'shape', 'aria-hidden': 'true' }, l.shape), ` ${standing.member.name} ${l.word}${why === '' ? '' : `${why})`}`)];
  }));
}

function trouble(s: SiteService): Child {
  return s.condition !== 'healthy' && s.sentence !== undefined && h('p', { class: 'sentence' }, s.sentence);
}

/** marks are what can be said of one. */
export function episodes(open: Episode[], now: Date, marks: (e: Episode) => Child = () => false): HTMLElement {
  if (open.length === 0) return h('p', {}, 'None.');
  return h('ul', { class: 'cards' }, ...open.map((e) => h('li', { class: 'card' },
    h('h3', {}, badge(e.condition), ' ', subject(e.subject), e.kind !== '' && h('span', { class: 'quiet' }, ` ${e.kind}`)),
    h('p', { class: 'sentence' }, e.sentence),
    h('p', { class: 'quiet' }, 'First evidence ', time(e.onset, now), ', ', badge(e.routing, 'routing'), ', ',
      e.paged ? 'people were paged' : 'nobody was paged', e.held_until !== undefined && ', held until ',
      e.held_until !== undefined && time(e.held_until, now), '. ', h('code', {}, e.id)),
    marks(e))));
}

/** The last decision with the ruling of every guard; what did not plainly pass comes first. */
export function decision(d: Decision | undefined, now: Date): HTMLElement {
  if (d === undefined) return h('p', {}, 'Nothing has been decided yet.');
  const rulings = [...(d.rulings ?? [])].sort((a, b) => Number(a.answer === 'pass') - Number(b.answer === 'pass') || a.n - b.n);
  const passed = rulings.filter((r) => r.answer === 'pass').length;
  return h('div', {},
    h('h3', {}, badge(d.verdict), ` ${d.plan === '' ? 'no plan' : d.plan} for ${subject(d.subject)}`),
    h('p', { class: 'sentence' }, d.sentence),
    (d.mode === 'observe' || d.mode === 'unknown') && banner(['The mode is observe: this says what would be done. Nothing is.'], 'note')[0],
    h('p', { class: 'quiet' }, time(d.at, now), `, policy ${d.policy === '' ? 'none' : d.policy}, mode ${d.mode}, decision ${d.n} of `,
      h('code', {}, d.episode_id)),
    h('table', {},
      h('caption', {}, `Rulings of ${rulings.length} guards; ${passed === rulings.length ? 'all' : passed} pass${passed === rulings.length ? '' : ', the others come first'}.`),
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'No.'), h('th', { scope: 'col' }, 'Guard'),
        h('th', { scope: 'col' }, 'Ruling'), h('th', { scope: 'col' }, 'Why'))),
      h('tbody', {}, ...rulings.map((r) => h('tr', {},
        h('td', { class: 'figures' }, String(r.n)), h('th', { scope: 'row' }, r.guard),
        h('td', {}, badge(r.answer), r.answer === 'bound' && ` ${percent(r.bound ?? 0)}`),
        h('td', {}, r.sentence))))),
    (d.alternatives ?? []).length > 0 && h('h4', {}, 'Not taken'),
    (d.alternatives ?? []).length > 0 && h('ul', {}, ...(d.alternatives ?? []).map((a) =>
      h('li', {}, badge(a.verdict), ` ${a.policy}, plan ${a.plan}: ${a.sentence}`))));
}

export function actions(all: Action[], now: Date): HTMLElement {
  if (all.length === 0) return h('p', {}, 'None yet.');
  return h('ul', { class: 'cards' }, ...all.map((a) => h('li', { class: 'card' },
    h('h3', {}, badge(a.state), ` ${a.plan} ${subject(a.subject)}`),
    h('p', { class: 'sentence' }, a.sentence),
    h('p', { class: 'quiet' }, time(a.created_at, now), `, by ${a.by}: ${a.reason}. `, h('code', {}, a.id),
      a.expires_at !== undefined && a.ended_at === undefined && ', expires ',
      a.expires_at !== undefined && a.ended_at === undefined && time(a.expires_at, now)),
    h('ol', { class: 'steps' }, ...(a.steps ?? []).map((s) => step(a, s, now))))));
}

function step(a: Action, s: StepRun, now: Date): HTMLElement {
  const attempts = s.attempts ?? [];
  const words = `weight to ${s.weight} % by ${s.target}`;
  return h('li', {},
    h('div', {}, badge(s.state), ` ${words}`, s.sentence !== undefined && s.sentence !== '' && `: ${s.sentence}`),
    attempts.length > 0 && h('details', { id: `${a.id}-${s.n}` },
      h('summary', { id: `${a.id}-${s.n}-summary` }, `${attempts.length} ${attempts.length === 1 ? 'attempt' : 'attempts'}`),
      h('ul', {}, ...attempts.map((t) => attempt(t, now)))));
}

function attempt(t: Attempt, now: Date): HTMLElement {
  const answer = t.status === undefined ? 'no answer' : `HTTP ${t.status}`;
  return h('li', {}, badge(t.result), ' ', time(t.at, now), `, ${answer} after ${Math.round(t.latency_ms)} ms`,
    t.detail !== undefined && t.detail !== '' && `: ${t.detail}`);
}

export function line(l: Line, now: Date): HTMLElement {
  return h('li', { class: `line ${/^[a-z]+$/.test(l.kind) ? l.kind : 'other'}` },
    time(l.at, now), ' ', h('span', { class: 'kind' }, l.kind), ' ', h('span', {}, l.sentence));
}

/** How the page is connected: live, polling while the stream is down, or lost. */
export type Link = 'connecting' | 'live' | 'polling' | 'lost';

export function statusLine(s: Status | undefined, link: Link): HTMLElement {
  const words: Record<Link, string> = { connecting: 'connecting', live: 'live', polling: 'polling every 2 s', lost: 'CONNECTION LOST' };
  const tone: Record<Link, string> = { connecting: 'none', live: 'good', polling: 'watch', lost: 'bad' };
  const shape: Record<Link, string> = { connecting: '○', live: '●', polling: '◆', lost: '✖' };
  return h('p', {},
    h('span', { class: `badge ${tone[link]}` }, h('span', { class: 'shape', 'aria-hidden': 'true' }, shape[link]), ` ${words[link]}`),
    s !== undefined && ' ', s !== undefined && stance(s, link),
    s?.lab === true && ' ', s?.lab === true && h('span', { class: 'badge none' }, 'lab'),
    s !== undefined && h('span', { class: 'quiet' }, ` version ${s.version}, record ${s.revision}`));
}

/** Whether the server acts by itself: not under the brake, and nobody knows when it is not heard. */
function stance(s: Status, link: Link): HTMLElement {
  let [tone, shape, words] = ['busy', '►', 'acts'];
  if (!s.acting) [tone, shape, words] = ['watch', '■', 'does not act'];
  if (s.brake?.on === true) [tone, shape, words] = ['bad', '■', 'does not act, the brake is on'];
  if (link === 'lost') [tone, shape, words] = ['none', '?', 'acts or not: unknown'];
  return h('span', { class: `badge ${tone}` }, h('span', { class: 'shape', 'aria-hidden': 'true' }, shape), ` ${words}`);
}

/** Seconds after which what the server observed is stale. */
export const staleAfter = 5;

/** What must be said loudly: in alarms (interrupting) and in notes. age is that of the observation, in seconds. */
export function banners(s: Status | undefined, link: Link, lostSince: Date | undefined, age: number | undefined,
  problem: string): { alarms: string[]; notes: string[] } {
  const alarms: string[] = [];
  const notes: string[] = [];
  if (link === 'lost') {
    const since = lostSince === undefined ? '' : ` since ${clock(lostSince.toISOString(), new Date())}`;
    alarms.push(`The connection to the server is lost${since}. Everything below is old.`);
  }
  if (link !== 'lost' && problem !== '') alarms.push(problem);
  if (s === undefined) return { alarms, notes };
  if (link !== 'lost' && s.observed_at === undefined) alarms.push('The server has observed nothing yet. Nothing below is known.');
  if (link !== 'lost' && age !== undefined && age > staleAfter) {
    // The time and not the age: an alarm is read out again whenever its words change.
    alarms.push(`The data is stale: the last observation is from ${clock(s.observed_at ?? '', new Date())}.`);
  }
  if (s.brake?.on === true) alarms.push(`The brake is on, set by ${s.brake.by}: ${s.brake.reason}. Nothing is done automatically.`);
  if (s.tilt?.on === true) alarms.push(`The server doubts itself and does not vote: ${s.tilt.reason ?? 'no reason given'}.`);
  for (const p of s.parts ?? []) if (!p.ok) alarms.push(`${p.name}: ${p.word}`);
  if (!s.acting && s.brake?.on !== true && loud(s, link).length === 0) { // what is above says it already
    notes.push(`Nothing is done automatically. ${sentence(s.reason)}`.trim());
  }
  for (const m of s.maintenance ?? []) {
    notes.push(`${subject(m)} is under maintenance by ${m.by} until ${clock(m.end, new Date())}: ${m.what}.`);
  }
  return { alarms, notes };
}

/** What nobody may overlook: nothing can act. code is what to type. */
export interface Loud {
  title: string;
  words: (string | { code: string })[];
}

/**
 * Whether the server can act at all, by its own account: of that nothing is known while it is not heard. The words stay
 * the same from one reading to the next, for an alarm is read out again whenever they change.
 */
export function loud(s: Status | undefined, link: Link): Loud[] {
  const out: Loud[] = [];
  if (s === undefined || link === 'lost') return out;
  const l = s.leadership;
  const who = l === undefined || l.self === '' ? 'this server' : `replica ${l.self}`;
  if (l !== undefined && !l.quorum) {
    out.push({
      title: `No quorum at ${who}: it does nothing by itself and takes no order.`,
      words: [`Reads go on: conditions are what ${who} sees, records may be behind.`,
        ...(l.self === '' ? [] : ['First see whether another replica leads.']), 'Break-glass when none does:',
        { code: 'evenkeel-server break-glass' }, ', past all guards; then', { code: 'evenkeel-server reconcile' }, '.'],
    });
  } else if (l !== undefined && !l.leads && (l.leader ?? '') === '') {
    out.push({ title: 'No leader is known: nothing acts by itself until a replica takes over.', words: ['Reads go on.'] });
  }
  if (s.pending !== undefined && s.pending !== '') {
    out.push({
      title: 'Pending adoption: nothing is commanded in the name of this ledger.',
      words: [sentence(s.pending), 'Ask the executors with', { code: 'evenkeel-server preflight' }, ', then say',
        { code: 'evenkeel-server adopt' }, '.'],
    });
  }
  return out;
}

export function loudBanner(all: Loud[]): HTMLElement[] {
  return all.map((l) => h('p', { class: 'banner loud' },
    h('span', { class: 'shape', 'aria-hidden': 'true' }, '✖'), ' ', h('strong', {}, l.title),
    ...l.words.flatMap((w) => (typeof w === 'string' ? [/^[,.]/.test(w) ? w : ` ${w}`] : [' ', h('code', {}, w.code)]))));
}

function sentence(words: string | undefined): string {
  if (words === undefined || words === '') return '';
  return words[0]?.toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? '' : '.');
}

export function banner(words: string[], kind: 'alarm' | 'note'): HTMLElement[] {
  return words.map((w) => h('p', { class: `banner ${kind}` },
    h('span', { class: 'shape', 'aria-hidden': 'true' }, kind === 'alarm' ? '✖' : '■'), ' ', w));
}
