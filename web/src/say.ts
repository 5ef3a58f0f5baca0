// The dialog in which a person says whether something was right. The token is kept until the page is left, and nowhere else.
import { post, Trouble } from './api';
import { byId } from './dom';
import { type About, type Label, verbs } from './feedback';
import type { Word } from './types';

let token = '';
let pending: { about: About; label: Label; back: string } | undefined;

function field(id: string): HTMLInputElement {
  return byId(id) as HTMLInputElement;
}

/** Asks for a note, and for the token while there is none. */
export function ask(about: About, label: Label, button: HTMLElement): void {
  pending = { about, label, back: button.id };
  byId('say-what').textContent = `${verbs[label]}: ${about.name}`;
  byId('say-problem').textContent = '';
  field('say-note').value = '';
  field('say-token').value = token;
  byId('say-token-part').hidden = token !== '';
  (byId('say') as HTMLDialogElement).showModal();
  field(token === '' ? 'say-token' : 'say-note').focus();
}

/** Listens to the dialog; said hears of each word that is on record. */
export function listen(said: (w: Word) => void): void {
  const dialog = byId('say') as HTMLDialogElement;
  dialog.addEventListener('close', () => document.getElementById(pending?.back ?? '')?.focus());
  byId('say-cancel').addEventListener('click', () => dialog.close());
  byId('say-form').addEventListener('submit', (e) => {
    e.preventDefault();
    void send(dialog, said);
  });
}

async function send(dialog: HTMLDialogElement, said: (w: Word) => void): Promise<void> {
  if (pending === undefined) return;
  const record = byId('say-record') as HTMLButtonElement;
  const given = field('say-token').value.trim();
  const note = field('say-note').value.trim();
  record.disabled = true;
  try {
    const word = await post<Word>('/feedback', given, { ...pending.about.request, label: pending.label, ...(note === '' ? {} : { note }) });
    token = given;
    said(word);
    dialog.close();
  } catch (e) {
    byId('say-problem').textContent = e instanceof Error ? e.message : String(e);
    if (e instanceof Trouble && e.kind === 'forbidden') {
      token = '';
      byId('say-token-part').hidden = false;
      field('say-token').focus();
    }
  } finally {
    record.disabled = false;
  }
}
