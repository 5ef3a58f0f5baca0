// The only place that makes elements. Text goes in as text, never as markup.

export type Child = Node | string | undefined | false;

export function h(tag: string, attributes: Record<string, string>, ...children: Child[]): HTMLElement {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  for (const child of children) if (child !== undefined && child !== false && child !== '') e.append(child);
  return e;
}

export function byId(id: string): HTMLElement {
  const e = document.getElementById(id);
  if (e === null) throw new Error(`the page has no element ${id}`);
  return e;
}

/**
 * Puts children in the place of what is there. Open details and the focus are kept where an element of the same id
 * is there again.
 */
export function replace(parent: HTMLElement, ...children: Child[]): void {
  const open = new Set([...parent.querySelectorAll('details[open]')].map((d) => d.id));
  const focused = document.activeElement;
  const focusId = focused !== null && parent.contains(focused) ? focused.id : '';
  parent.replaceChildren(...children.filter((c): c is Node | string => c !== undefined && c !== false && c !== ''));
  for (const d of parent.querySelectorAll('details')) if (open.has(d.id)) d.open = true;
  if (focusId !== '' && focusId !== parent.id) document.getElementById(focusId)?.focus();
}
