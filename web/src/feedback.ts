// What people say of alarms and episodes: whether they were right. Pure but for making elements.
import { type Child, h } from './dom';
import type { Alarm, Change, Episode, Precision, Word } from './types';
import { badge, time } from './view';
import { figure, subject } from './words';

/** What a word is about: an episode or an alarm, how people call it, and the time that is not to be learned from once it is over. */
export interface About {
  id: string;
  name: string;
  request: { episode_id: string } | { watch: string; series: string; onset: string };
  span?: { site: string; service: string; start: string; end: string };
}

/** An order that a button gives: where to, what it says, and where its note goes. */
export interface Order {
  title: string;
  path: string;
  body: Record<string, unknown>;
  note: 'note' | 'what';
}

export const labels = ['true', 'false', 'unsure'] as const;
export type Label = (typeof labels)[number];

/** What is written on a button. */
export const verbs: Record<Label, string> = { true: 'Right', false: 'Wrong', unsure: 'Unsure' };
const words: Record<string, string> = { true: 'right', false: 'wrong', unsure: 'unsure' };

/** What the marks need: the last words of all people, the person who sits here once known, and what a button does. */
export interface Desk {
  words: Word[];
  me: string;
  changes: Change[];
  ask: (order: Order, button: HTMLElement) => void;
}

export function ofEpisode(e: Episode): About {
  const about: About = { id: e.id, name: `the episode of ${subject(e.subject)}`, request: { episode_id: e.id } };
  // The others are kept from being learned by themselves.
  if (e.closed_at !== undefined && e.worst === 'suspect') about.span = { ...e.subject, start: e.onset, end: e.closed_at };
  return about;
}

export function ofAlarm(a: Alarm): About {
  const about: About = { id: a.id, name: `the alarm of ${a.series}`, request: { watch: a.watch, series: a.series, onset: a.onset } };
  // A second more: the end of a span is no longer in it.
  if (a.over) about.span = { site: a.site, service: 'all', start: a.onset, end: new Date(new Date(a.last).getTime() + 1000).toISOString() };
  return about;
}

/** The buttons, and who said what. place tells two of the same thing on a page apart. */
export function marks(about: About, desk: Desk, place: string): HTMLElement {
  const said = desk.words.filter((w) => w.about === about.id);
  const own = said.find((w) => w.by === desk.me)?.label;
  return h('div', { class: 'marks' },
    h('span', { role: 'group', 'aria-label': `Was ${about.name} right?` }, ...labels.map((label) => {
      const order: Order = { title: `${verbs[label]}: ${about.name}`, path: '/feedback', body: { ...about.request, label }, note: 'note' };
      return button(order, desk, `say-${place}-${about.id}-${label}`, verbs[label], { 'aria-pressed': String(own === label) });
    })),
    said.length > 0 && h('span', { class: 'quiet' }, ' ', said.map((w) =>
      `${w.by}: ${words[w.label] ?? w.label}${w.note === undefined || w.note === '' ? '' : ` (${w.note})`}`).join('; ')),
    forget(about, desk, place));
}

function button(order: Order, desk: Desk, id: string, words: string, more: Record<string, string> = {}): HTMLElement {
  const b = h('button', { type: 'button', id, ...more }, words);
  b.addEventListener('click', () => desk.ask(order, b));
  return b;
}

/** The button by which the time of it is not learned from, or who has said so. */
function forget(about: About, desk: Desk, place: string): Child {
  const { span } = about;
  if (span === undefined || new Date(span.end) <= new Date(span.start)) return false;
  const id = `inc-${about.id}`;
  const marked = desk.changes.find((c) => c.id === id && c.incident === true);
  if (marked !== undefined) {
    return h('div', { class: 'quiet' }, marked.ended_by === undefined || marked.ended_by === ''
      ? `Not learned from, by ${marked.by}.` : `Learned from after all, by ${marked.ended_by}.`);
  }
  const whole = span.service === 'all' ? span.site : `${span.service} at ${span.site}`;
  const order: Order = {
    title: `Do not learn from ${about.name}: all of ${whole}, in its time`, path: '/changes', note: 'what',
    body: { id, ...span, what: about.name.slice(0, 60) /* of 200 bytes */, source: 'page', incident: true },
  };
  return h('div', {}, button(order, desk, `forget-${place}-${about.id}`, 'Do not learn'));
}

/** What is over, to be spoken of after the fact; nothing while that is nothing. */
function past(id: string, title: string, items: HTMLElement[]): HTMLElement[] {
  if (items.length === 0) return [];
  return [h('details', { id }, h('summary', { id: `${id}-summary` }, `${title} (${items.length})`), h('ul', { class: 'odd' }, ...items))];
}

export function pastAlarms(all: Alarm[], desk: Desk, now: Date): HTMLElement[] {
  return past('past-alarms', 'Odd in the last 24 hours', all.filter((a) => a.over).map((a) =>
    h('li', {}, badge(a.class), ' ', time(a.onset, now), ' to ', time(a.last, now), ` ${a.sentence}`, marks(ofAlarm(a), desk, 'past'))));
}

export function pastEpisodes(all: Episode[], desk: Desk, now: Date): HTMLElement[] {
  return past('past-episodes', 'Closed lately', all.filter((e) => e.closed_at !== undefined).map((e) =>
    h('li', {}, time(e.onset, now), ' to ', time(e.closed_at ?? '', now), ` ${subject(e.subject)}, ${e.kind}: ${e.sentence}`, marks(ofEpisode(e), desk, 'past'))));
}

/** How often alarms were right; nothing while nobody said anything. */
export function precision(all: Precision[] | undefined): HTMLElement[] {
  if (all === undefined || all.length === 0) return [];
  const head = ['right', 'wrong', 'unsure', 'precision (90 %)', 'of'];
  return [h('div', { class: 'wide', role: 'region', 'aria-label': 'Feedback', tabindex: '0' }, h('table', { class: 'quiet' },
    h('caption', {}, 'How often alarms were right by what people say of them, over the last 90 days. They choose what they label, and no threshold moves by it.'),
    h('thead', {}, h('tr', {}, h('td', {}), ...head.map((w) => h('th', { scope: 'col' }, w)))),
    h('tbody', {}, ...all.map((p) => h('tr', {}, h('th', { scope: 'row' }, p.watch === undefined ? 'Episodes' : `Watch ${p.watch}`),
      ...[p.true, p.false, p.unsure].map((n) => h('td', { class: 'figures' }, String(n))),
      h('td', { class: 'figures' }, share(p)), h('td', {}, `${p.labels} ${p.labels === 1 ? 'label' : 'labels'}`))))))];
}

function share(p: Precision): Child {
  return p.precision === undefined ? 'unknown' : `${figure(p.precision)} (${figure(p.lower ?? NaN)} to ${figure(p.upper ?? NaN)})`;
}
