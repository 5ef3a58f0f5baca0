// Words, figures and shapes. Pure.
import type { Subject, Traffic } from './types';

/** How the page shows a state: a word, a shape beside the colour, and a tone that chooses the colour. */
export interface Look {
  word: string;
  shape: string;
  tone: 'good' | 'watch' | 'bad' | 'busy' | 'none';
}

const looks: Record<string, Omit<Look, 'word'>> = {
  // conditions
  healthy: { shape: '●', tone: 'good' },
  suspect: { shape: '◆', tone: 'watch' },
  degraded: { shape: '▲', tone: 'watch' },
  failing: { shape: '✖', tone: 'bad' },
  // routing
  active: { shape: '●', tone: 'good' },
  draining: { shape: '▼', tone: 'busy' },
  drained: { shape: '■', tone: 'watch' },
  restoring: { shape: '▲', tone: 'busy' },
  // replication links
  caught_up: { shape: '●', tone: 'good' },
  idle_link_ok: { shape: '●', tone: 'good' },
  catching_up: { shape: '◑', tone: 'busy' },
  delayed_by_design: { shape: '◑', tone: 'watch' },
  resyncing: { shape: '↻', tone: 'watch' },
  applier_stopped: { shape: '■', tone: 'bad' },
  link_down: { shape: '✖', tone: 'bad' },
  no_primary: { shape: '✖', tone: 'bad' },
  // answers of guards
  pass: { shape: '✔', tone: 'good' },
  object: { shape: '✖', tone: 'bad' },
  cannot_tell: { shape: '?', tone: 'watch' },
  bound: { shape: '◑', tone: 'busy' },
  // verdicts
  act: { shape: '►', tone: 'busy' },
  await_approval: { shape: '◆', tone: 'watch' },
  recommend: { shape: '◆', tone: 'watch' },
  hold: { shape: '■', tone: 'watch' },
  ignore: { shape: '○', tone: 'none' },
  // actions, steps and attempts
  succeeded: { shape: '✔', tone: 'good' },
  done: { shape: '✔', tone: 'good' },
  accepted: { shape: '◑', tone: 'busy' },
  ineffective: { shape: '✖', tone: 'bad' },
  failed: { shape: '✖', tone: 'bad' },
  refused: { shape: '✖', tone: 'bad' },
  expired: { shape: '✖', tone: 'bad' },
  rolled_back: { shape: '↺', tone: 'watch' },
  rolling_back: { shape: '↺', tone: 'busy' },
  retry: { shape: '↻', tone: 'watch' },
  proposed: { shape: '○', tone: 'none' },
  pending: { shape: '○', tone: 'none' },
  awaiting_approval: { shape: '◆', tone: 'watch' },
  committed: { shape: '►', tone: 'busy' },
  running: { shape: '►', tone: 'busy' },
  intended: { shape: '►', tone: 'busy' },
  verifying: { shape: '◑', tone: 'busy' },
  // what detectors find
  symptom: { shape: '◆', tone: 'watch' },
  cause: { shape: '■', tone: 'watch' },
  // votes of replicas
  counts: { shape: '✔', tone: 'good' },
  tilt: { shape: '◆', tone: 'watch' },
  unfit: { shape: '✖', tone: 'bad' },
  blind: { shape: '◐', tone: 'watch' },
  stale: { shape: '◌', tone: 'none' },
  learner: { shape: '▲', tone: 'busy' },
  absent: { shape: '○', tone: 'none' },
  stranger: { shape: '■', tone: 'watch' },
};

/** A state the page does not know, the server's own unknown included, looks unknown and never good. */
export function look(state: string): Look {
  const known = Object.hasOwn(looks, state) ? looks[state] : undefined;
  return { word: state === '' ? 'unknown' : state.replaceAll('_', ' '), shape: '?', tone: 'none', ...known };
}

export function subject(s: Subject): string {
  if (s.service === 'all' || s.service === '') return s.site;
  return `${s.service} at ${s.site}${s.unit ? ` (${s.unit})` : ''}`;
}

/** A share from 0 to 1 as percent; small shares are not rounded to nothing. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return 'unknown';
  const p = share * 100;
  if (p > 0 && p < 0.1) return '< 0.1 %';
  return `${p >= 99.95 || p === 0 || Number.isInteger(p) ? Math.round(p) : p.toFixed(1)} %`;
}

export function share(t: Traffic | undefined): string {
  if (!t?.known) return 'share of users unknown';
  return `${percent(t.share)} of users, ${rate(t.requests_s)}`;
}

export function rate(perSecond: number): string {
  return `${perSecond >= 10 ? Math.round(perSecond) : perSecond.toFixed(1)} requests/s`;
}

/** The users' success at a site, where anybody was sent there. */
export function success(t: Traffic | undefined): string {
  if (!t?.known || t.count === 0) return '';
  return `${percent(t.success)} succeed`;
}

/** What was commanded, and what the edge reports where that is another thing. */
export function weight(commanded: number, t: Traffic | undefined): string {
  const said = `weight ${commanded} %`;
  if (!t?.weight_known) return `${said}, the edge's word unknown`;
  return Math.round(t.weight) === commanded ? said : `${said}, the edge says ${Math.round(t.weight)} %`;
}

/** A number of seconds, rounded up: a bound is never shown smaller than it is. */
export function interval(seconds: number): string {
  const ms = Math.ceil(seconds * 1000 - 1e-6);
  if (ms < 1000) return `${ms} ms`;
  return ms < 100_000 ? `${(Math.ceil(ms / 100) / 10).toFixed(1)} s` : `${Math.ceil(ms / 1000)} s`;
}

/** How long ago, in the largest unit that fits; undefined is not known. */
export function ago(seconds: number | undefined): string {
  if (seconds === undefined) return 'unknown';
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}

/** The time of day, and the day where it is not today's. */
export function clock(at: string, now: Date): string {
  const t = new Date(at);
  if (Number.isNaN(t.getTime())) return 'time unknown';
  const two = (n: number) => String(n).padStart(2, '0');
  const time = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
  if (t.toDateString() === now.toDateString()) return time;
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${time}`;
}

/** One figure with three digits, and nothing that is not known. */
export function figure(x: number): string {
  return Number.isFinite(x) ? String(Number(x.toPrecision(3))) : 'unknown';
}
