// The replication links: who copies from whom, how far behind, and what would be lost. Pure but for making elements.
import { type Child, h } from './dom';
import type { Link } from './types';
import { badge, time } from './view';
import { interval } from './words';

/** One table a store: its rows write, its columns copy. A pair of sites without a link is hatched. */
export function matrix(all: Link[], now: Date): HTMLElement[] {
  if (all.length === 0) return [h('p', {}, 'No replication link is configured, and no agent reports one.')];
  return [...new Set(all.map((l) => l.store))].map((store) => {
    const links = all.filter((l) => l.store === store);
    const sites = [...new Set(links.flatMap((l) => [l.from, l.to]))].sort();
    const from = sites.filter((s) => links.some((l) => l.from === s));
    const to = sites.filter((s) => links.some((l) => l.to === s));
    return h('table', { class: 'matrix' },
      h('caption', {}, `${store}: rows write, columns copy; at risk is what would be lost with the writer, beside its objective`),
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'From \u2192 to'), ...to.map((s) => h('th', { scope: 'col' }, s)))),
      h('tbody', {}, ...from.map((f) => h('tr', {}, h('th', { scope: 'row' }, f), ...to.map((t) =>
        cell(links.find((l) => l.from === f && l.to === t), f === t, now))))));
  });
}

function cell(l: Link | undefined, itself: boolean, now: Date): HTMLElement {
  if (itself) return h('td', { class: 'quiet' }, 'itself');
  if (l === undefined) return h('td', { class: 'quiet hatched' }, 'no link');
  return h('td', {},
    h('div', {}, badge(l.state), l.reason !== undefined && l.reason !== '' && h('span', { class: 'quiet' }, ` ${l.reason.replaceAll('_', ' ')}`),
      l.since !== undefined && h('span', { class: 'quiet' }, ' since ', time(l.since, now))),
    h('div', { class: 'figures' }, behind(l)),
    h('div', { class: 'figures' }, atRisk(l)));
}

/** The bounds of the lag; what is not known is said to be so, and never zero. */
export function behind(l: Link): string {
  const { lag_lower_seconds: lower, lag_upper_seconds: upper } = l;
  if (upper !== undefined) return lower === undefined || lower === 0 ? `at most ${interval(upper)} behind` : `${interval(lower)} to ${interval(upper)} behind`;
  return lower === undefined ? 'how far behind is unknown' : `${interval(lower)} or more behind`;
}

/** What would be lost with the source, beside the objective. */
function atRisk(l: Link): Child {
  const lost = l.exposure_seconds;
  if (lost === undefined) return 'at risk: unknown';
  if (l.rpo_seconds === undefined) return `at risk: at most ${interval(lost)}`;
  const over = lost > l.rpo_seconds;
  return h('span', { class: over ? 'badge bad' : '' }, over && h('span', { class: 'shape', 'aria-hidden': 'true' }, '\u2716'),
    over && ' ', `at risk: at most ${interval(lost)} ${over ? 'over' : 'of'} ${interval(l.rpo_seconds)}`);
}
