// The dialog in which a person gives an order. The token is kept until the page is left, and nowhere else.
import { post, Trouble } from './api';
import { byId } from './dom';
import type { Order } from './feedback';

let token = '';
let pending: { order: Order; back: string } | undefined;

function field(id: string): HTMLInputElement {
  return byId(id) as HTMLInputElement;
}

/** Asks for a note, and for the token while there is none. */
export function ask(order: Order, button: HTMLElement): void {
  pending = { order, back: button.id };
  byId('say-what').textContent = order.title;
  byId('say-problem').textContent = '';
  field('say-note').value = '';
  field('say-note').maxLength = order.note === 'what' ? 200 : 500;
  field('say-token').value = token;
  byId('say-token-part').hidden = token !== '';
  (byId('say') as HTMLDialogElement).showModal();
  field(token === '' ? 'say-token' : 'say-note').focus();
}

/** Listens to the dialog; said hears of what is on record then, and of the order. */
export function listen(said: (kept: unknown, order: Order) => void): void {
  const dialog = byId('say') as HTMLDialogElement;
  dialog.addEventListener('close', () => document.getElementById(pending?.back ?? '')?.focus());
  byId('say-cancel').addEventListener('click', () => dialog.close());
  byId('say-form').addEventListener('submit', (e) => {
    e.preventDefault();
    void send(dialog, said);
  });
}

async function send(dialog: HTMLDialogElement, said: (kept: unknown, order: Order) => void): Promise<void> {
  if (pending === undefined) return;
  const { order } = pending;
  const record = byId('say-record') as HTMLButtonElement;
  const given = field('say-token').value.trim();
  const note = field('say-note').value.trim();
  record.disabled = true;
  try {
    const kept = await post<unknown>(order.path, given, { ...order.body, ...(note === '' ? {} : { [order.note]: note }) });
    token = given;
    said(kept, order);
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
